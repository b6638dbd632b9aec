// SPDX-License-Identifier: Apache-2.0

package manifest

import (
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
)

// attempts to read a folder that changes underneath: a file that was listed may
// be gone a moment later.
const attempts = 5

// file is one manifest file as it was read.
type file struct {
	path string
	data []byte
}

// folder is the content of a manifest folder at one moment.
type folder struct {
	files []file          // by path
	dirs  map[string]bool // real paths of the folders that were read
	links map[string]bool // real paths of the folders that linked files lie in
}

// scan reads all manifests of a folder, again where something vanished meanwhile.
// With an error it returns what it had come to.
func scan(dir string) (f *folder, err error) {
	for range attempts {
		f = &folder{dirs: map[string]bool{}, links: map[string]bool{}}
		if err = f.add(dir); !errors.Is(err, fs.ErrNotExist) {
			return f, err
		}
	}
	return f, err
}

// add reads one folder. Names with a leading dot are left out: they are editors'
// files, and the folders behind a ConfigMap volume's links.
func (f *folder) add(dir string) error {
	real, err := filepath.EvalSymlinks(dir)
	if err != nil {
		return fmt.Errorf("finding folder %s: %w", dir, err)
	}
	if f.dirs[real] {
		return nil // a link back to a folder above
	}
	f.dirs[real] = true
	entries, err := os.ReadDir(dir)
	if err != nil {
		return fmt.Errorf("listing folder %s: %w", dir, err)
	}
	for _, e := range entries {
		if strings.HasPrefix(e.Name(), ".") {
			continue
		}
		if err := f.addEntry(filepath.Join(dir, e.Name())); err != nil {
			return err
		}
	}
	return nil
}

func (f *folder) addEntry(path string) error {
	info, err := os.Stat(path) // what a link leads to
	if err != nil {
		if !isManifest(path) {
			return nil
		}
		return fmt.Errorf("finding %s: %w", path, err)
	}
	switch {
	case info.IsDir():
		return f.add(path)
	case !info.Mode().IsRegular() || !isManifest(path):
		return nil
	}
	real, err := filepath.EvalSymlinks(path)
	if err != nil {
		return fmt.Errorf("finding %s: %w", path, err)
	}
	data, err := os.ReadFile(path)
	if err != nil {
		return fmt.Errorf("reading manifest: %w", err)
	}
	f.links[filepath.Dir(real)] = true
	f.files = append(f.files, file{path, data})
	return nil
}

func isManifest(path string) bool {
	switch filepath.Ext(path) {
	case ".yaml", ".yml", ".json":
		return true
	}
	return false
}

// fingerprint is equal for equal contents.
func (f *folder) fingerprint() [sha256.Size]byte {
	h := sha256.New()
	for _, file := range f.files {
		for _, part := range [][]byte{[]byte(file.path), file.data} {
			h.Write(binary.BigEndian.AppendUint64(nil, uint64(len(part))))
			h.Write(part)
		}
	}
	return [sha256.Size]byte(h.Sum(nil))
}
