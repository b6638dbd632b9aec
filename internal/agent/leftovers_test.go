// SPDX-License-Identifier: Apache-2.0

package agent

import (
	"errors"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"testing"
)

func TestRemoveLeftovers(t *testing.T) {
	for _, foreign := range []bool{false, true} {
		dir := filepath.Join(t.TempDir(), "state")
		release, err := Lock(dir)
		if err != nil {
			t.Fatal(err)
		}
		defer release()
		if err := os.Mkdir(filepath.Join(dir, "xds"), 0o755); err != nil {
			t.Fatal(err)
		}
		for _, name := range []string{"cni.sock", "xds/xds.sock"} {
			l, err := net.ListenUnix("unix", &net.UnixAddr{Net: "unix", Name: filepath.Join(dir, name)})
			if err != nil {
				t.Fatal(err)
			}
			l.SetUnlinkOnClose(false)
			l.Close()
		}
		files := []string{"xds/xds.sock.lock"}
		if foreign {
			files = append(files, "notes")
		}
		for _, name := range files {
			if err := os.WriteFile(filepath.Join(dir, name), nil, 0o600); err != nil {
				t.Fatal(err)
			}
		}
		if err := RemoveLeftovers(dir); err != nil {
			t.Fatal(err)
		}
		left, err := os.ReadDir(dir)
		switch {
		case foreign && (err != nil || len(left) != 1 || left[0].Name() != "notes"):
			t.Errorf("with a foreign file: %v, %v", left, err)
		case !foreign && !errors.Is(err, fs.ErrNotExist):
			t.Errorf("the directory is still there: %v, %v", left, err)
		}
	}
}
