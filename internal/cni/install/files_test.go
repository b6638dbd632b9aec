// SPDX-License-Identifier: Apache-2.0

package install

import (
	"bytes"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"testing"
)

func TestSameContent(t *testing.T) {
	dir := t.TempDir()
	large := bytes.Repeat([]byte("plugin"), 20_000)
	write := func(name string, content []byte) string {
		t.Helper()
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, content, 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	a := write("a", large)
	changed := bytes.Clone(large)
	changed[len(changed)-1]++
	for _, c := range []struct {
		name    string
		content []byte
		same    bool
	}{
		{"same", large, true}, {"changed", changed, false}, {"longer", append(bytes.Clone(large), 0), false},
		{"piece", large[:64<<10], false}, {"empty", nil, false},
	} {
		b := write(c.name, c.content)
		for _, pair := range [][2]string{{a, b}, {b, a}} {
			if same, err := sameContent(pair[0], pair[1]); same != c.same || err != nil {
				t.Errorf("%s: %v, %v", c.name, same, err)
			}
		}
	}
	whole := write("whole", large[:64<<10])
	if same, err := sameContent(whole, write("other", large[:64<<10])); !same || err != nil {
		t.Errorf("whole pieces: %v, %v", same, err)
	}
	if _, err := sameContent(a, filepath.Join(dir, "missing")); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("missing: %v", err)
	}
}
