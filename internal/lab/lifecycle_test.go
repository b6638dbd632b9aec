// SPDX-License-Identifier: Apache-2.0

package lab

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/ambient22/ambient22/internal/lab/netns"
)

// The commands a person types: up, exec, verify, down, each its own process.
func TestCommands(t *testing.T) {
	o := options(t, "nft")
	t.Cleanup(func() { downAndCheck(t, o) })
	code, stdout, stderr := ctl(t, "", o.flags("up", "--here", "--tunnel", "vxlan", "--iptables", "nft")...)
	if code != 0 || !strings.Contains(stdout, "is up") {
		t.Fatalf("up: exit code %d\n%s%s", code, stdout, stderr)
	}
	if code, _, stderr := ctl(t, "", o.flags("up", "--here")...); code != 1 || !strings.Contains(stderr, "up already") {
		t.Errorf("up again: exit code %d: %s", code, stderr)
	}

	code, stdout, stderr = ctl(t, "", inSleep(o, "get", callURL)...)
	if code != 0 || !strings.Contains(stdout, "Simple Bookstore App") {
		t.Errorf("a call: exit code %d\n%s%s", code, stdout, stderr)
	}
	code, stdout, stderr = ctl(t, "to stdin", o.flags("exec", "productpage", "--", "sh", "-c", "cat; echo to stderr >&2; exit 7")...)
	if code != 7 || stdout != "to stdin" || stderr != "to stderr\n" {
		t.Errorf("exec: exit code %d, stdout %q, stderr %q", code, stdout, stderr)
	}
	if code, _, stderr := ctl(t, "", o.flags("exec", "nowhere", "--", "true")...); code != 1 || !strings.Contains(stderr, "productpage") {
		t.Errorf("exec in an unknown host: exit code %d: %s", code, stderr)
	}
	if code, stdout, _ := ctl(t, "", o.flags("verify")...); code != 1 || !strings.Contains(stdout, "17 of 20 reproduced") {
		t.Errorf("verify with VXLAN: exit code %d\n%s", code, stdout)
	}
	if code, stdout, _ := ctl(t, "", o.flags("verify", "--json")...); code != 1 || strings.Count(stdout, `"status": "reproduced"`) != 17 {
		t.Errorf("verify --json with VXLAN: exit code %d\n%s", code, stdout)
	}

	for range 2 { // the second has nothing to do
		if code, _, stderr := ctl(t, "", o.flags("down")...); code != 0 {
			t.Errorf("down: exit code %d: %s", code, stderr)
		}
		checkGone(t, o)
	}
	if code, _, stderr := ctl(t, "", o.flags("exec", "sleep", "--", "true")...); code != 1 || !strings.Contains(stderr, "not up") {
		t.Errorf("exec without a lab: exit code %d: %s", code, stderr)
	}
}

// The report as JSON has what the report as text has, and the exit code says
// that three listings print another kind of tunnel.
func TestRunAsJSON(t *testing.T) {
	o := options(t, "nft")
	code, stdout, stderr := ctl(t, "", o.flags("run", "article", "--here", "--tunnel", "vxlan", "--json")...)
	r := &Report{}
	if err := json.Unmarshal([]byte(stdout), r); err != nil {
		t.Fatalf("exit code %d, %v:\n%s%s", code, err, stdout, stderr)
	}
	if code != 1 || r.Proof == nil || !allOK(r.Proof.Findings) || Reproduced(r.Listings) != 17 || len(r.Listings) != 20 || r.OK() || r.Machine {
		t.Errorf("exit code %d, report %+v", code, r)
	}
	if !strings.Contains(stderr, "sleep called http://productpage:9080/") {
		t.Errorf("no progress was shown:\n%s", stderr)
	}
	checkGone(t, o)
}

func TestVXLANOnlyWhenSaid(t *testing.T) {
	o := options(t, "nft")
	for _, sub := range [][]string{{"up"}, {"run", "article"}} {
		code, _, stderr := ctl(t, "", o.flags(append(sub, "--tunnel", "vxlan")...)...)
		if code != 1 || !strings.Contains(stderr, "--here") {
			t.Errorf("%v: exit code %d: %s", sub, code, stderr)
		}
	}
}

// start runs ambientctl in the background and waits until the lab has hosts.
func start(t *testing.T, o Options, args ...string) *exec.Cmd {
	t.Helper()
	cmd := exec.Command(filepath.Join(binDir, "ambientctl"), o.flags(args...)...)
	cmd.Stdout, cmd.Stderr = t.Output(), t.Output()
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the lab has hosts", func() error {
		if !netns.Exists(o.Name + "-sleep") {
			return errors.New("no namespace yet")
		}
		return nil
	})
	return cmd
}

func TestInterruptCleansUp(t *testing.T) {
	o := options(t, "nft")
	cmd := start(t, o, "run", "article", "--here", "--tunnel", "vxlan")
	if err := cmd.Process.Signal(os.Interrupt); err != nil {
		t.Fatal(err)
	}
	if err := cmd.Wait(); err == nil {
		t.Error("an interrupted run ended with success")
	}
	checkGone(t, o)
	checkNoProcess(t)
}

// SIGKILL at several moments: down finds whatever was made.
func TestDownAfterACrash(t *testing.T) {
	for _, after := range []time.Duration{0, 5, 10, 20, 30, 40, 50, 60, 80, 100, 150, 300, 600} {
		o := options(t, "legacy")
		cmd := start(t, o, "up", "--here", "--tunnel", "vxlan")
		timer := time.AfterFunc(after*time.Millisecond, func() { _ = cmd.Process.Kill() })
		_ = cmd.Wait() // killed, or up before that
		timer.Stop()
		downAndCheck(t, o)
		checkNoProcess(t)
	}
}

// checkNoProcess fails if a process of the commands under test is left.
func checkNoProcess(t *testing.T) {
	t.Helper()
	pids, err := netns.Processes()
	if err != nil {
		t.Fatal(err)
	}
	for _, pid := range pids {
		exe, err := os.Readlink(fmt.Sprintf("/proc/%d/exe", pid))
		if err == nil && filepath.Dir(exe) == binDir {
			t.Errorf("process %d is left: %s", pid, exe)
		}
	}
}

// A daemon that does not start stops the lab with its name and its log.
func TestFailureShowsTheLog(t *testing.T) {
	o := options(t, "nft")
	o.BinDir = t.TempDir()
	for _, name := range []string{"ambientctl", "ztunnel"} {
		if err := os.Symlink(filepath.Join(binDir, name), filepath.Join(o.BinDir, name)); err != nil {
			t.Fatal(err)
		}
	}
	script := "#!/bin/sh\necho the disk is on fire\nexit 3\n"
	if err := os.WriteFile(filepath.Join(o.BinDir, "ambient-node"), []byte(script), 0o755); err != nil {
		t.Fatal(err)
	}
	code, _, stderr := ctl(t, "", o.flags("up", "--here", "--tunnel", "vxlan", "--bin-dir", o.BinDir)...)
	if code == 0 {
		t.Error("up succeeded")
	}
	for _, want := range []string{"ambient-node in node-", "exit status 3", "the disk is on fire"} {
		if !strings.Contains(stderr, want) {
			t.Errorf("the error lacks %q:\n%s", want, stderr)
		}
	}
	checkGone(t, o)
}

func TestForeignNamespaceIsRefused(t *testing.T) {
	o := options(t, "nft")
	ns := o.Name + "-sleep"
	if err := netns.Create(ns); err != nil {
		t.Fatal(err)
	}
	code, _, stderr := ctl(t, "", o.flags("up", "--here", "--tunnel", "vxlan")...)
	if code != 1 || !strings.Contains(stderr, ns) {
		t.Errorf("exit code %d: %s", code, stderr)
	}
	if code, _, stderr := ctl(t, "", o.flags("down")...); code != 0 || !netns.Exists(ns) {
		t.Errorf("down: exit code %d, the foreign namespace is there: %v: %s", code, netns.Exists(ns), stderr)
	}
	if err := netns.Delete(ns); err != nil {
		t.Error(err)
	}
	checkGone(t, o)
}

func TestTwoCommandsAtOnce(t *testing.T) {
	o := options(t, "nft")
	unlock, err := lock(t.Context(), o.StateDir, o.Name)
	if err != nil {
		t.Fatal(err)
	}
	defer unlock()
	if err := Down(t.Context(), o, nil); !errors.Is(err, unix.EWOULDBLOCK) {
		t.Errorf("got %v, want that another command is changing the lab", err)
	}
}
