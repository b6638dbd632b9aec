// SPDX-License-Identifier: Apache-2.0

package golden

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// recorder is a test whose failures are looked at.
type recorder struct {
	testing.TB
	failures []string
}

func (*recorder) Helper() {}

func (r *recorder) Errorf(format string, args ...any) {
	r.failures = append(r.failures, fmt.Sprintf(format, args...))
}

// updating sets the flag for one test.
func updating(t *testing.T, on bool) {
	before := *update
	*update = on
	t.Cleanup(func() { *update = before })
}

func TestCheck(t *testing.T) {
	updating(t, false)
	path := filepath.Join(t.TempDir(), "rules.txt")
	if err := os.WriteFile(path, []byte("100 lookup local\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	r := &recorder{TB: t}
	Check(r, path, "100 lookup local\n")
	if len(r.failures) > 0 {
		t.Errorf("the same text fails: %s", r.failures)
	}
	Check(r, path, []byte("101 lookup main\n"))
	if len(r.failures) != 1 || !strings.Contains(r.failures[0], path) || !strings.Contains(r.failures[0], "101 lookup main") {
		t.Errorf("another text gives %q", r.failures)
	}
}

func TestUpdate(t *testing.T) {
	path := filepath.Join(t.TempDir(), "rules.txt")
	updating(t, true)
	Check(t, path, "100 lookup local\n")
	if got, err := os.ReadFile(path); err != nil || string(got) != "100 lookup local\n" {
		t.Errorf("the file has %q, %v", got, err)
	}
}
