// SPDX-License-Identifier: Apache-2.0

package agent

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
)

// RemoveLeftovers removes what controllers leave in the state directory when they end
// or are killed: their sockets at the usual places, the locks beside them, and the
// directory's own lock. It goes by names, because the directory may be one that others
// use, too. The caller holds the lock, so that no controller runs.
func RemoveLeftovers(stateDir string) error {
	var failed []error
	for _, name := range []string{"cni.sock", "xds.sock", "xds.sock.lock", "xds/xds.sock", "xds/xds.sock.lock", "lock"} {
		if err := os.Remove(filepath.Join(stateDir, name)); err != nil && !errors.Is(err, fs.ErrNotExist) {
			failed = append(failed, err)
		}
	}
	if len(failed) > 0 {
		return fmt.Errorf("clearing the state directory: %w", errors.Join(failed...))
	}
	for _, folder := range []string{"xds", "."} {
		_ = os.Remove(filepath.Join(stateDir, folder)) // only where nothing is left in it, and nobody has mounted it
	}
	return nil
}
