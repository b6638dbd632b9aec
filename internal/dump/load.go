// SPDX-License-Identifier: Apache-2.0

package dump

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"slices"
	"strings"

	"github.com/ambient22/ambient22/internal/dump/syntax"
)

// Load reads the archives at path as texts, without parsing them: as Open takes
// them, but not loose files.
func Load(path string) ([]*Archive, error) {
	t, err := readTree(path)
	if err != nil {
		return nil, fmt.Errorf("reading %s: %w", path, err)
	}
	archives, err := t.onlyArchives()
	if err != nil {
		return nil, fmt.Errorf("reading %s: %w", path, err)
	}
	return archives, nil
}

// LoadFrom reads what Write wrote.
func LoadFrom(r io.Reader) ([]*Archive, error) {
	t := &tree{left: maxRead}
	if err := t.stream("archive", r); err != nil {
		return nil, fmt.Errorf("reading an archive: %w", err)
	}
	return t.onlyArchives()
}

func (t *tree) onlyArchives() ([]*Archive, error) {
	archives, err := t.archives()
	if err == nil && len(archives) == 0 {
		err = fmt.Errorf("it has no %s, so it is no archive of ambientctl dump", HeaderFile)
	}
	return archives, err
}

func (a *Archive) readHeader(f File) error {
	if err := json.Unmarshal([]byte(f.Text), &a.Header); err != nil {
		return jsonError(f.Name, f.Text, err)
	}
	if a.Header.Version != Version {
		return fmt.Errorf("%s: an archive of version %d, and this program reads version %d", f.Name, a.Header.Version, Version)
	}
	return nil
}

// finish takes over from the header what it says of the files, and notes where
// the two do not agree.
func (a *Archive) finish() {
	// Who sends an archive is not always to be trusted with names: they may be
	// written to a folder again.
	a.Header.Files = slices.DeleteFunc(a.Header.Files, func(info FileInfo) bool { return !fs.ValidPath(info.Name) })
	listed := map[string]bool{}
	for _, info := range a.Header.Files {
		listed[info.Name] = true
		at := slices.IndexFunc(a.Files, func(f File) bool { return f.Name == info.Name })
		if at < 0 {
			space, kind, known := place(info.Name)
			if !known {
				kind = Kind(info.Name)
			}
			a.Gap(space, kind, "dump.json lists it, and the file is not there")
			continue
		}
		a.Files[at].Truncated = info.Truncated
		if f := &a.Files[at]; len(f.Text) < info.Bytes && f.Text != "" && !strings.HasSuffix(f.Text, "\n") {
			f.Truncated = fmt.Sprintf("only %d of its %d bytes are there", len(f.Text), info.Bytes)
			f.Text = f.Text[:strings.LastIndexByte(f.Text, '\n')+1]
		}
	}
	a.Files = slices.DeleteFunc(a.Files, func(f File) bool {
		_, _, known := place(f.Name)
		return !known && !listed[f.Name] && f.Name != WorkloadsFile
	})
}

// jsonError says where a text is no JSON.
func jsonError(file, text string, err error) error {
	offset := len(text)
	var broken *json.SyntaxError
	var wrong *json.UnmarshalTypeError
	switch {
	case errors.As(err, &broken):
		offset = int(broken.Offset) - 1 // the bytes before the error, with the one at fault
	case errors.As(err, &wrong):
		offset = int(wrong.Offset) - 1
	}
	line, column := 1, 1
	for _, c := range []byte(text[:min(max(offset, 0), len(text))]) {
		column++
		if c == '\n' {
			line, column = line+1, 1
		}
	}
	return &syntax.Error{File: file, Line: line, Column: column, Reason: err.Error()}
}
