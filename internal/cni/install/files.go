// SPDX-License-Identifier: Apache-2.0

package install

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"

	"github.com/ambient22/ambient22/internal/cni"
)

// removeParts removes what an install that was killed left half written, and copies of
// files whose lists are gone.
func (i *Installer) removeParts() {
	for _, pattern := range []string{filepath.Join(i.ConfDir, ".*"+cni.PartEnding+"*"), filepath.Join(i.BinDir, ".*"+cni.PartEnding+"*"), filepath.Join(i.ConfDir, "*"+kept)} {
		parts, _ := filepath.Glob(pattern) // the pattern is well formed
		for _, part := range parts {
			_ = os.Remove(part) // nobody reads it
		}
	}
}

// sameContent compares two files piece by piece: programs are large, and this is asked
// again whenever something happens in their folder.
func sameContent(a, b string) (bool, error) {
	one, err := os.Open(a)
	if err != nil {
		return false, err
	}
	defer one.Close()
	other, err := os.Open(b)
	if err != nil {
		return false, err
	}
	defer other.Close()
	var here, there [32 << 10]byte
	for {
		n, err1 := io.ReadFull(one, here[:])
		m, err2 := io.ReadFull(other, there[:])
		if !bytes.Equal(here[:n], there[:m]) {
			return false, nil
		}
		switch {
		case err1 == nil && err2 == nil:
		case ended(err1) && ended(err2):
			return true, nil
		default:
			return false, errors.Join(err1, err2)
		}
	}
}

// ended reports whether there is no more to read.
func ended(err error) bool {
	return errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF)
}

// lock keeps others out who install or remove at the same time. It is on the folder
// itself and leaves nothing behind.
func lock(dir string) (unlock func(), err error) {
	folder, err := os.Open(dir)
	if err != nil {
		return nil, fmt.Errorf("opening the folder of network configurations: %w", err)
	}
	if err := unix.Flock(int(folder.Fd()), unix.LOCK_EX); err != nil {
		folder.Close()
		return nil, fmt.Errorf("locking %s: %w", dir, err)
	}
	return func() { folder.Close() }, nil
}
