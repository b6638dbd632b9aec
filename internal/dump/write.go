// SPDX-License-Identifier: Apache-2.0

package dump

import (
	"archive/tar"
	"compress/gzip"
	"fmt"
	"io"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"unicode"

	"golang.org/x/sys/unix"
)

// The permissions of what is written: a dump tells a lot about a cluster.
const (
	fileMode   = 0o600
	folderMode = 0o700
)

// Suffix is how the name of an archive in one file ends.
const Suffix = ".tar.gz"

// each calls do with every file of the archive, the header first.
func (a *Archive) each(do func(name, text string) error) error {
	header, err := a.header()
	if err != nil {
		return err
	}
	if err := do(HeaderFile, string(header)); err != nil {
		return err
	}
	for _, f := range a.Files {
		if err := do(f.Name, f.Text); err != nil {
			return err
		}
	}
	return nil
}

// Write writes archives as one .tar.gz. With more than one, each is in a folder
// of its node's name.
func Write(w io.Writer, archives ...*Archive) error {
	zipped := gzip.NewWriter(w)
	out := tar.NewWriter(zipped)
	folders := folders(archives)
	for i, a := range archives {
		err := a.each(func(name, text string) error {
			header := &tar.Header{
				Typeflag: tar.TypeReg, Name: path.Join(folders[i], name), Mode: fileMode,
				Size: int64(len(text)), ModTime: a.Header.Taken.Truncate(1e9), Format: tar.FormatPAX,
			}
			if err := out.WriteHeader(header); err != nil {
				return err
			}
			_, err := io.WriteString(out, text)
			return err
		})
		if err != nil {
			return fmt.Errorf("writing the archive of %s: %w", a.Header.Node, err)
		}
	}
	if err := out.Close(); err != nil {
		return fmt.Errorf("writing the archive: %w", err)
	}
	if err := zipped.Close(); err != nil {
		return fmt.Errorf("writing the archive: %w", err)
	}
	return nil
}

// WriteTo writes archives where name says: into one file where it ends in
// ".tar.gz", else into a folder, which must be new or empty. Either is there as a
// whole or not at all.
func WriteTo(name string, archives ...*Archive) error {
	var err error
	switch ending := filepath.Ext(name); {
	case strings.HasSuffix(name, Suffix), ending == ".tgz":
		err = writeFile(name, archives)
	case ending == ".tar", ending == ".gz", ending == ".zip":
		err = fmt.Errorf("an archive's name ends in %s, and a folder's in none of those", Suffix)
	default:
		err = writeFolder(name, archives)
	}
	if err != nil {
		return fmt.Errorf("writing %s: %w", name, err)
	}
	return nil
}

func writeFile(name string, archives []*Archive) (err error) {
	f, err := os.CreateTemp(filepath.Dir(name), "."+filepath.Base(name)+"-") // mode 0600
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			os.Remove(f.Name())
		}
	}()
	if err := Write(f, archives...); err != nil {
		f.Close()
		return err
	}
	if err := f.Close(); err != nil {
		return err
	}
	return os.Rename(f.Name(), name)
}

func writeFolder(name string, archives []*Archive) (err error) {
	parent := filepath.Dir(filepath.Clean(name))
	if err := os.MkdirAll(parent, folderMode); err != nil {
		return err
	}
	unfinished, err := os.MkdirTemp(parent, "."+filepath.Base(name)+"-")
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			os.RemoveAll(unfinished)
		}
	}()
	folders := folders(archives)
	for i, a := range archives {
		err := a.each(func(of, text string) error {
			file := filepath.Join(unfinished, filepath.FromSlash(path.Join(folders[i], of)))
			if err := os.MkdirAll(filepath.Dir(file), folderMode); err != nil {
				return err
			}
			return os.WriteFile(file, []byte(text), fileMode)
		})
		if err != nil {
			return err
		}
	}
	// An empty folder of that name is replaced; one with something in it is not.
	return unix.Rename(unfinished, filepath.Clean(name))
}

// folders are the archives' folders in what is written: none for one alone, else
// the node's name, as far as it can be a folder's. No two are the same.
func folders(archives []*Archive) []string {
	if len(archives) == 1 {
		return []string{""}
	}
	var out []string
	for _, a := range archives {
		name := strings.Map(func(r rune) rune {
			if r == '/' || r == filepath.Separator || unicode.IsControl(r) {
				return '_'
			}
			return r
		}, a.Header.Node)
		if strings.Trim(name, ".") == "" {
			name = "node" + name
		}
		folder := name
		for n := 2; slices.Contains(out, folder); n++ {
			folder = fmt.Sprintf("%s-%d", name, n)
		}
		out = append(out, folder)
	}
	return out
}
