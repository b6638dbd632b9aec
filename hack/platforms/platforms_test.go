// SPDX-License-Identifier: Apache-2.0

// Package platforms tests the scripts that bring up clusters of kind and GKE, with
// programs in the place of theirs that note what they are asked.
package platforms

import (
	"archive/tar"
	"bytes"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// stub notes its call and what it reads, and lets the test's answers speak.
const stub = `#!/bin/bash
{ printf '%s' "${0##*/}"; printf ' %s' "$@"; echo; } >>"$STUB_CALLS"
call="${0##*/} $*"
answer() { :; }
source "$STUB_ANSWERS"
answer
`

// checkout is a copy of what the scripts need of the repository, in which building is
// noted, too, instead of done.
type checkout struct {
	dir   string
	tools string // folder of the stubs
	calls string // file
}

func newCheckout(t *testing.T, tools ...string) *checkout {
	t.Helper()
	c := &checkout{dir: t.TempDir(), tools: t.TempDir()}
	c.calls = filepath.Join(c.dir, "calls")
	scripts, err := filepath.Glob("../*.sh")
	if err != nil || len(scripts) == 0 {
		t.Fatalf("looking for the scripts: %v", err)
	}
	for _, path := range append(scripts, "../samples/bookinfo.yaml", "../../go.mod", "../../cmd/ztunnel/main.go") {
		text, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		c.write(t, strings.TrimPrefix(filepath.Join("hack/platforms", path), "./"), string(text))
	}
	for _, path := range []string{"hack/build.sh", "hack/images.sh", "bin/ambientctl"} {
		c.write(t, path, stub)
	}
	c.write(t, "bin/ztunnel", "the program")
	c.write(t, "bin/ambient-node", "the program")
	c.write(t, "bin/images/ambient22.tar", archive(t))
	for _, name := range tools {
		if err := os.WriteFile(filepath.Join(c.tools, name), []byte(stub), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	return c
}

func (c *checkout) write(t *testing.T, path, text string) {
	t.Helper()
	path = filepath.Join(c.dir, path)
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(text), 0o755); err != nil {
		t.Fatal(err)
	}
}

// archive is a tar archive with an image's layout, as far as the scripts look.
func archive(t *testing.T) string {
	t.Helper()
	var out bytes.Buffer
	w := tar.NewWriter(&out)
	err := w.WriteHeader(&tar.Header{Name: "index.json", Mode: 0o644, Size: 2})
	if err == nil {
		_, err = w.Write([]byte("{}"))
	}
	if err := errors.Join(err, w.Close()); err != nil {
		t.Fatal(err)
	}
	return out.String()
}

// run starts a script in an environment of nothing but the stubs and the system's
// own programs, and returns its exit code, what it printed, and the calls it made.
func (c *checkout) run(t *testing.T, answers string, env []string, script string, args ...string) (code int, output, calls string) {
	t.Helper()
	c.write(t, "answers", answers)
	if err := os.RemoveAll(c.calls); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command("bash", append([]string{filepath.Join(c.dir, "hack", script)}, args...)...)
	cmd.Env = append([]string{
		"PATH=" + c.tools + ":" + c.system(t), "HOME=" + c.dir, "TMPDIR=" + t.TempDir(),
		"STUB_CALLS=" + c.calls, "STUB_ANSWERS=" + filepath.Join(c.dir, "answers"),
	}, env...)
	text, err := cmd.CombinedOutput()
	if err != nil && cmd.ProcessState == nil {
		t.Fatal(err)
	}
	noted, err := os.ReadFile(c.calls)
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		t.Fatal(err)
	}
	same := strings.NewReplacer(c.dir, "CHECKOUT", strings.TrimPrefix(cmd.Env[2], "TMPDIR="), "TMP")
	return cmd.ProcessState.ExitCode(), same.Replace(string(text)), same.Replace(string(noted))
}

// system is a folder with the programs that every system has, so that a kind or
// gcloud of this machine is not found.
func (c *checkout) system(t *testing.T) string {
	t.Helper()
	dir := filepath.Join(c.dir, "system")
	if _, err := os.Stat(dir); err == nil {
		return dir
	}
	if err := os.Mkdir(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"bash", "dirname", "basename", "awk", "sed", "grep", "cat", "head", "cut", "sha256sum", "mktemp", "mkdir", "rm", "tar", "gzip"} {
		path, err := exec.LookPath(name)
		if err == nil {
			err = os.Symlink(path, filepath.Join(dir, name))
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

// refused checks that a script ended with a message, before any of these calls.
func refused(t *testing.T, code int, output, calls, message string, notCalled ...string) {
	t.Helper()
	if code != 1 || !strings.Contains(output, message) {
		t.Errorf("exit code %d, and no %q in:\n%s", code, message, output)
	}
	for _, call := range notCalled {
		if strings.Contains(calls, call) {
			t.Errorf("it called %s all the same:\n%s", call, calls)
		}
	}
}

func TestHelpNeedsNothing(t *testing.T) {
	c := newCheckout(t)
	for script, word := range map[string]string{
		"kind-up.sh": "KIND_NODE_IMAGE", "kind-down.sh": "KIND_CLUSTER_NAME", "gke-up.sh": "MACHINE_TYPE", "gke-down.sh": "--yes",
	} {
		code, output, calls := c.run(t, "", nil, script, "--help")
		if code != 0 || calls != "" || !strings.Contains(output, word) || strings.Contains(output, "source") {
			t.Errorf("%s --help: exit code %d, calls %q:\n%s", script, code, calls, output)
		}
	}
}

// Every setting that a script reads is explained by its --help.
func TestSettingsAreExplained(t *testing.T) {
	c := newCheckout(t)
	for script, parts := range map[string][]string{
		"kind-up.sh": {"kind-up.sh", "platform.sh"}, "kind-down.sh": {"kind-down.sh"},
		"gke-up.sh": {"gke-up.sh", "gke.sh", "platform.sh"}, "gke-down.sh": {"gke-down.sh", "gke.sh"},
	} {
		_, help, _ := c.run(t, "", nil, script, "--help")
		for _, part := range parts {
			text, err := os.ReadFile(filepath.Join("..", part))
			if err != nil {
				t.Fatal(err)
			}
			for _, name := range settingsIn(string(text)) {
				if !strings.Contains(help, name) {
					t.Errorf("%s reads %s, and %s --help does not say so", part, name, script)
				}
			}
		}
	}
}

// settingsIn are the names in ${NAME:-default} and the like.
func settingsIn(script string) []string {
	var names []string
	for _, rest := range strings.Split(script, "${")[1:] {
		if name, _, ok := strings.Cut(rest, ":"); ok && name == strings.ToUpper(name) && name != "1" && !strings.ContainsAny(name, "}[ \n") {
			names = append(names, name)
		}
	}
	return names
}

func tools(names string) []string { return strings.Fields(names) }
