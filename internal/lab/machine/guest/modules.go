// SPDX-License-Identifier: Apache-2.0

package guest

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"
)

// moduleFiles are opened modules in load order.
type moduleFiles []*os.File

func openModules(names []string) (moduleFiles, error) {
	var files moduleFiles
	for _, name := range names {
		f, err := os.Open(filepath.Join(ModulePath, name))
		if err != nil {
			return nil, fmt.Errorf("loading kernel modules: %w", err)
		}
		files = append(files, f)
	}
	return files, nil
}

// load puts the modules into the kernel. One that is there already is fine.
func (m moduleFiles) load() error {
	for _, f := range m {
		err := unix.FinitModule(int(f.Fd()), "", 0)
		f.Close()
		if err != nil && !errors.Is(err, unix.EEXIST) {
			return fmt.Errorf("loading kernel module %s: %w", filepath.Base(f.Name()), err)
		}
	}
	return nil
}

func loadModules(names []string) error {
	files, err := openModules(names)
	if err != nil {
		return err
	}
	return files.load()
}
