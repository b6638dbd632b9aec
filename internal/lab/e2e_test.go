// SPDX-License-Identifier: Apache-2.0

package lab

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/ambient22/ambient22/internal/lab/hosts"
	"github.com/ambient22/ambient22/internal/lab/netns"
)

// binDir is where TestMain has put the commands under test.
var binDir string

// TestMain builds the three commands the way `make build` does: the lab runs
// real processes, and the machine wants static ones.
func TestMain(m *testing.M) {
	os.Exit(func() int {
		dir, err := os.MkdirTemp("", "ambient22-lab-")
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			return 1
		}
		defer os.RemoveAll(dir)
		build := exec.Command("go", "build", "-trimpath", "-buildvcs=false", "-o", dir+"/", "./cmd/...")
		build.Dir = "../.."
		build.Env = append(os.Environ(), "CGO_ENABLED=0")
		if out, err := build.CombinedOutput(); err != nil {
			fmt.Fprintf(os.Stderr, "building the commands: %v\n%s", err, out)
			return 1
		}
		binDir = dir
		return m.Run()
	}())
}

var labs struct {
	sync.Mutex
	count int
}

// options are those of a lab of the test's own: this kernel, VXLAN.
func options(t *testing.T, iptables string) Options {
	t.Helper()
	labs.Lock()
	labs.count++
	name := fmt.Sprintf("t%d-%d", os.Getpid(), labs.count)
	labs.Unlock()
	return Options{
		Name: name, StateDir: filepath.Join(t.TempDir(), "labs"), BinDir: binDir,
		Iptables: iptables, Tunnel: "vxlan", Timeout: 60 * time.Second,
	}
}

// up brings a lab up for one test and makes sure that nothing of it stays.
func up(t *testing.T, iptables string) *Lab {
	t.Helper()
	return upWith(t, options(t, iptables))
}

// form is a profile in a dialect.
type form struct{ profile, dialect string }

func (f form) String() string { return f.profile + " in " + f.dialect }

func allForms() []form {
	return []form{{"article", "istio-1.16"}, {"hardened", "istio-1.16"}, {"article", "upstream"}, {"hardened", "upstream"}}
}

// inEveryForm runs a test with a lab of its own in each profile and dialect.
func inEveryForm(t *testing.T, f func(t *testing.T, l *Lab)) {
	for _, one := range allForms() {
		t.Run(one.String(), func(t *testing.T) {
			o := options(t, "nft")
			o.Profile, o.Dialect = one.profile, one.dialect
			f(t, upWith(t, o))
		})
	}
}

func upWith(t *testing.T, o Options) *Lab {
	t.Helper()
	t.Cleanup(func() { downAndCheck(t, o) })
	l, err := Up(t.Context(), o, NewProgress(t.Output(), 0))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if t.Failed() {
			showLogs(t, l)
		}
	})
	return l
}

func downAndCheck(t *testing.T, o Options) {
	t.Helper()
	if err := Down(context.Background(), o, nil); err != nil {
		t.Error(err)
	}
	checkGone(t, o)
}

// checkGone fails if anything of a lab is left on the machine.
func checkGone(t *testing.T, o Options) {
	t.Helper()
	for _, pattern := range []string{netns.Path(o.Name + "-*"), "/etc/netns/" + o.Name + "-*", filepath.Join(o.StateDir, "*")} {
		left, err := filepath.Glob(pattern)
		if err != nil || len(left) > 0 {
			t.Errorf("left behind: %v %v", left, err)
		}
	}
	if _, err := os.Stat(o.StateDir); err == nil {
		t.Errorf("left behind: %s", o.StateDir)
	}
}

// logTail is how much of each log a failed test shows.
const logTail = 25

func showLogs(t *testing.T, l *Lab) {
	t.Helper()
	for _, n := range l.Net.Topology.Nodes {
		t.Logf("%s %s:\n%s", n.Host, nodeDaemon, hosts.Tail(l.Net.LogFile(n.Host, nodeDaemon), logTail))
		t.Logf("%s:\n%s", n.Ztunnel, hosts.Tail(l.Net.LogFile(n.Ztunnel, ztunnelDaemon), logTail))
	}
}

func output(t *testing.T, l *Lab, host string, argv ...string) string {
	t.Helper()
	out, err := l.Net.Output(t.Context(), host, argv...)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// ctl runs ambientctl and returns its exit code and streams.
func ctl(t *testing.T, stdin string, args ...string) (int, string, string) {
	t.Helper()
	// Clean-ups run when the test's context has ended.
	cmd := exec.CommandContext(context.WithoutCancel(t.Context()), filepath.Join(binDir, "ambientctl"), args...)
	var stdout, stderr bytes.Buffer
	cmd.Stdin, cmd.Stdout, cmd.Stderr = strings.NewReader(stdin), &stdout, &stderr
	err := cmd.Run()
	if cmd.ProcessState == nil {
		t.Fatal(err)
	}
	return cmd.ProcessState.ExitCode(), stdout.String(), stderr.String()
}

// flags are the command line's form of a lab's options.
func (o Options) flags(sub ...string) []string {
	return append([]string{"lab", sub[0], "--name", o.Name, "--state-dir", o.StateDir}, sub[1:]...)
}

// eventually waits until a condition holds, and fails after some time.
func eventually(t *testing.T, what string, condition func() error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	tick := time.NewTicker(pollEvery)
	defer tick.Stop()
	for {
		err := condition()
		if err == nil {
			return
		}
		select {
		case <-ctx.Done():
			t.Fatalf("waiting until %s: %v", what, err)
		case <-tick.C:
		}
	}
}
