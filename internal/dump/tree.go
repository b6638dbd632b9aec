// SPDX-License-Identifier: Apache-2.0

package dump

import (
	"archive/tar"
	"bufio"
	"bytes"
	"compress/gzip"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
)

// maxRead is how much one Open reads, unpacked. It is far more than a dump can
// have, and keeps a file that unpacks to terabytes from filling the memory.
const maxRead = 2 << 30

// tree is the texts that a path leads to. Names are relative, with slashes.
type tree struct {
	name  string // the path's last part without its ending; "" where it has none
	files []File
	left  int // of maxRead
	// cut is the error that ended the reading of a packed archive too early.
	cut error
}

// readTree reads a folder, a .tar.gz, a .tar, a .gz or one text; "-" is the
// standard input.
func readTree(name string) (*tree, error) {
	t := &tree{left: maxRead, name: baseName(name)}
	if name == "-" {
		return t, t.stream("standard input", os.Stdin)
	}
	info, err := os.Stat(name)
	if err != nil {
		return nil, err
	}
	if info.IsDir() {
		return t, t.folder(name)
	}
	f, err := os.Open(name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return t, t.stream(filepath.Base(name), f)
}

// stream reads what comes, whatever it is.
func (t *tree) stream(name string, r io.Reader) error {
	in := bufio.NewReader(r)
	if magic, _ := in.Peek(2); bytes.Equal(magic, []byte{0x1f, 0x8b}) {
		unzipped, err := gzip.NewReader(in)
		if err != nil {
			return err
		}
		in = bufio.NewReader(unzipped)
		name = strings.TrimSuffix(name, ".gz")
	}
	// "ustar" stands at this place in every header that tar has written since 1988.
	if magic, _ := in.Peek(262); len(magic) == 262 && string(magic[257:262]) == "ustar" {
		return t.tar(in)
	}
	return t.add(name, in)
}

func (t *tree) tar(r io.Reader) error {
	for in := tar.NewReader(r); ; {
		h, err := in.Next()
		if errors.Is(err, io.EOF) {
			t.sort()
			return nil
		}
		if t.wasCut(err) {
			return nil
		}
		if err != nil {
			return err
		}
		if h.Typeflag != tar.TypeReg {
			continue
		}
		err = t.add(strings.TrimPrefix(path.Clean(h.Name), "/"), in)
		if t.wasCut(err) {
			return nil
		}
		if err != nil {
			return err
		}
	}
}

// wasCut notes that the archive ends too early: what came before is good.
func (t *tree) wasCut(err error) bool {
	if err == nil || len(t.files) == 0 || !errors.Is(err, io.ErrUnexpectedEOF) {
		return false
	}
	t.cut = err
	t.sort()
	return true
}

func (t *tree) folder(root string) error {
	err := fs.WalkDir(os.DirFS(root), ".", func(name string, entry fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case name != "." && strings.HasPrefix(entry.Name(), "."):
			if entry.IsDir() {
				return fs.SkipDir
			}
			return nil
		case !entry.Type().IsRegular():
			return nil
		}
		f, err := os.Open(filepath.Join(root, filepath.FromSlash(name)))
		if err != nil {
			return err
		}
		defer f.Close()
		if !strings.HasSuffix(name, Suffix) && !strings.HasSuffix(name, ".tgz") {
			return t.add(name, f)
		}
		inner := &tree{left: t.left}
		if err := inner.stream(name, f); err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
		for _, file := range inner.files {
			file.Name = path.Join(strings.TrimSuffix(strings.TrimSuffix(name, Suffix), ".tgz"), file.Name)
			t.files = append(t.files, file)
		}
		t.left = inner.left
		return nil
	})
	t.sort()
	return err
}

func (t *tree) add(name string, r io.Reader) error {
	var text strings.Builder
	n, err := io.Copy(&text, io.LimitReader(r, int64(t.left)+1))
	if err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	if t.left -= int(n); t.left < 0 {
		return fmt.Errorf("%s: unpacked it is over %d bytes, and no dump is", name, maxRead)
	}
	t.files = append(t.files, File{Name: name, Text: text.String()})
	return nil
}

// sort orders the files by name. Of several with one name the last one counts, as
// it does for tar.
func (t *tree) sort() {
	slices.Reverse(t.files)
	slices.SortStableFunc(t.files, func(a, b File) int { return strings.Compare(a.Name, b.Name) })
	t.files = slices.CompactFunc(t.files, func(a, b File) bool { return a.Name == b.Name })
}

// archives splits the texts into those that stand beside or below a dump.json.
// There are none where there is no such file.
func (t *tree) archives() ([]*Archive, error) {
	var all []*Archive
	for _, f := range t.files {
		dir, base := path.Split(f.Name)
		if base != HeaderFile {
			continue
		}
		a := &Archive{}
		if err := a.readHeader(f); err != nil {
			return nil, err
		}
		for _, other := range t.files {
			if rest, below := strings.CutPrefix(other.Name, dir); below && rest != HeaderFile && fs.ValidPath(rest) {
				a.add(File{Name: rest, Text: other.Text})
			}
		}
		a.finish()
		if t.cut != nil {
			a.Gap("", "", "the archive ends too early: what follows in it is lost")
		}
		all = append(all, a)
	}
	return all, nil
}
