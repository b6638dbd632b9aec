// SPDX-License-Identifier: Apache-2.0

package machine

import (
	"bytes"
	"context"
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/ambient22/ambient22/internal/lab/agent"
)

// fixture is what every machine of the tests needs.
type fixture struct {
	program  string // static
	cacheDir string
}

func newFixture(t *testing.T) fixture {
	t.Helper()
	f := fixture{program: filepath.Join(t.TempDir(), "program")}
	build := exec.CommandContext(t.Context(), "go", "build", "-o", f.program, "./testdata/program")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("building the test's program: %v\n%s", err, out)
	}
	var err error
	if f.cacheDir, err = DefaultCacheDir(); err != nil {
		t.Fatal(err)
	}
	if _, err := FetchKernel(t.Context(), "../../../hack/fetch-kernel.sh", f.cacheDir, t.Output()); err != nil {
		t.Fatal(err)
	}
	return f
}

func (f fixture) config(t *testing.T) Config {
	return Config{StateDir: filepath.Join(t.TempDir(), "state"), CacheDir: f.cacheDir, Binary: f.program}
}

// start starts a machine that the end of the test removes.
func start(t *testing.T, c Config) *Machine {
	t.Helper()
	began := time.Now()
	m, err := Start(t.Context(), c)
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("ready for commands after %v", time.Since(began).Round(time.Millisecond))
	t.Cleanup(func() {
		if err := m.Stop(context.Background()); err != nil {
			t.Error(err)
		}
	})
	return m
}

// shell runs a script in the machine and returns its output; it must succeed.
func shell(t *testing.T, m *Machine, script string) string {
	t.Helper()
	var out bytes.Buffer
	code, err := m.Exec(t.Context(), agent.Cmd{Path: "sh", Args: []string{"-ec", script}, Stdout: &out, Stderr: &out})
	if err != nil || code != 0 {
		t.Fatalf("%s\nexit code %d, error %v\n%s", script, code, err, &out)
	}
	return out.String()
}

// TestMachine boots few machines, as each takes seconds without KVM; those that don't look at the clock run together.
func TestMachine(t *testing.T) {
	f := newFixture(t)
	t.Run("life", func(t *testing.T) { t.Parallel(); testLife(t, f) })
	t.Run("panic", func(t *testing.T) { t.Parallel(); testPanic(t, f) })
	t.Run("early ends", func(t *testing.T) { t.Parallel(); testEarlyEnds(t, f) })
	t.Run("end with caller", func(t *testing.T) { t.Parallel(); testEndWithCaller(t, f) })
}

func testLife(t *testing.T, f fixture) {
	c := f.config(t)
	packed := filepath.Join(t.TempDir(), "packed")
	if err := os.WriteFile(packed, []byte("#!/bin/sh\necho packed\n"), 0o700); err != nil {
		t.Fatal(err)
	}
	c.Pack, c.Hostname = []string{packed}, "test-machine"
	started := start(t, c)
	m, err := Attach(c.StateDir) // as another process would
	if err != nil {
		t.Fatal(err)
	}
	if _, err := Start(t.Context(), c); !errors.Is(err, ErrRunning) {
		t.Errorf("second start: %v, want %v", err, ErrRunning)
	}
	for name, check := range map[string]func(*testing.T, *Machine){
		"place": testPlace, "geneve": testGeneve, "firewall": testFirewall, "data": testData, "many": testMany, "signal": testSignal,
	} {
		t.Run(name, func(t *testing.T) { check(t, m) })
	}
	t.Run("packed file", func(t *testing.T) {
		if got := shell(t, m, packed+"; stat -c %a "+packed); got != "packed\n700\n" {
			t.Errorf("printed %q", got)
		}
	})
	t.Run("geneve probe", func(t *testing.T) {
		if got := shell(t, m, f.program+" geneve"); got != "true\n" {
			t.Errorf("printed %q", got)
		}
	})
	t.Run("stop", func(t *testing.T) {
		if err := m.Stop(t.Context()); err != nil {
			t.Fatal(err)
		}
		checkGone(t, c.StateDir)
		if _, err := Attach(c.StateDir); !errors.Is(err, ErrNotRunning) {
			t.Errorf("attaching: %v, want %v", err, ErrNotRunning)
		}
		if _, err := started.Exec(t.Context(), agent.Cmd{Path: "true"}); !errors.Is(err, ErrNotRunning) {
			t.Errorf("executing: %v, want %v", err, ErrNotRunning)
		}
		if err := started.Stop(t.Context()); err != nil {
			t.Errorf("stopping again: %v", err)
		}
	})
}

// checkGone makes sure that nothing of a machine is left but its logs.
func checkGone(t *testing.T, stateDir string) {
	t.Helper()
	if left := processesNaming(t, stateDir); len(left) > 0 {
		t.Errorf("still running: %q", left)
	}
	for _, name := range []string{socketName, "machine.json", "initramfs.cpio"} {
		if _, err := os.Stat(filepath.Join(stateDir, name)); !errors.Is(err, os.ErrNotExist) {
			t.Errorf("%s is still there (%v)", name, err)
		}
	}
}

// processesNaming finds the processes with text in their command line.
func processesNaming(t *testing.T, text string) []string {
	t.Helper()
	lines, err := filepath.Glob("/proc/[0-9]*/cmdline")
	if err != nil {
		t.Fatal(err)
	}
	var found []string
	for _, file := range lines {
		line, err := os.ReadFile(file)
		if err == nil && bytes.Contains(line, []byte(text)) {
			found = append(found, strings.ReplaceAll(string(line), "\x00", " "))
		}
	}
	return found
}

func testPanic(t *testing.T, f fixture) {
	c := f.config(t)
	m := start(t, c)
	_, err := m.Exec(t.Context(), agent.Cmd{Path: "sh", Args: []string{"-c", "echo c >/proc/sysrq-trigger; sleep 60"}})
	if !errors.Is(err, ErrNotRunning) || !strings.Contains(err.Error(), "sysrq triggered crash") {
		t.Errorf("executing: %v; want the panic's reason", err)
	}
	_, err = Attach(c.StateDir)
	if !errors.Is(err, ErrNotRunning) || !strings.Contains(err.Error(), "sysrq triggered crash") {
		t.Errorf("attaching: %v; want the panic's reason", err)
	}
	checkGone(t, c.StateDir)
}

// testEarlyEnds ends machines before they are up.
func testEarlyEnds(t *testing.T, f fixture) {
	t.Run("cancelled", func(t *testing.T) {
		c := f.config(t)
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		go func() { awaitQEMU(t, c.StateDir); cancel() }()
		if _, err := Start(ctx, c); !errors.Is(err, context.Canceled) {
			t.Errorf("starting: %v, want %v", err, context.Canceled)
		}
		checkGone(t, c.StateDir)
	})
	t.Run("supervisor killed", func(t *testing.T) {
		c := f.config(t)
		go func() {
			awaitQEMU(t, c.StateDir)
			if i, err := (files{dir: c.StateDir}).readInfo(); err != nil || syscall.Kill(i.PID, syscall.SIGKILL) != nil {
				t.Errorf("killing the supervisor failed (%v)", err)
			}
		}()
		if _, err := Start(t.Context(), c); err == nil {
			t.Error("starting succeeded")
		}
		waitFor(t, "QEMU to end with its supervisor", func() bool { return len(processesNaming(t, c.StateDir)) == 0 })
		if _, err := Attach(c.StateDir); !errors.Is(err, ErrNotRunning) {
			t.Errorf("attaching: %v, want %v", err, ErrNotRunning)
		}
		if err := (&Machine{files: files{dir: c.StateDir}}).Stop(t.Context()); err != nil {
			t.Errorf("stopping what is gone: %v", err)
		}
	})
	t.Run("too slow", func(t *testing.T) {
		c := f.config(t)
		c.BootTimeout = 200 * time.Millisecond
		if _, err := Start(t.Context(), c); err == nil || !strings.Contains(err.Error(), "no answer within 200ms") {
			t.Errorf("starting: %v, want the time limit", err)
		}
		checkGone(t, c.StateDir)
	})
	t.Run("no emulator", func(t *testing.T) {
		c := f.config(t)
		c.QEMU = "/no/such/qemu"
		if _, err := Start(t.Context(), c); err == nil || !strings.Contains(err.Error(), "qemu-system-x86") {
			t.Errorf("starting: %v, want the package to install", err)
		}
		checkGone(t, c.StateDir)
	})
	t.Run("emulator fails", func(t *testing.T) {
		c := f.config(t)
		c.MemoryMB = -1
		if _, err := Start(t.Context(), c); err == nil || !strings.Contains(err.Error(), "qemu.log: ") {
			t.Errorf("starting: %v, want QEMU's own words", err)
		}
		checkGone(t, c.StateDir)
	})
}

func awaitQEMU(t *testing.T, stateDir string) {
	waitFor(t, "QEMU to start", func() bool {
		for _, line := range processesNaming(t, stateDir) {
			if strings.Contains(line, "-initrd") {
				return true
			}
		}
		return false
	})
}

func testEndWithCaller(t *testing.T, f fixture) {
	stateDir := filepath.Join(t.TempDir(), "state")
	caller := exec.Command(f.program, "start", stateDir)
	caller.Env = append(os.Environ(), "AMBIENT22_CACHE="+f.cacheDir)
	var problems bytes.Buffer
	caller.Stderr = &problems
	out, err := caller.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := caller.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() { _ = caller.Wait() }() // it was killed
	defer caller.Process.Kill()
	if line, err := io.ReadAll(io.LimitReader(out, 3)); err != nil || string(line) != "up\n" {
		t.Fatalf("the caller printed %q (%v) %s", line, err, &problems)
	}
	m, err := Attach(stateDir)
	if err != nil {
		t.Fatal(err)
	}
	shell(t, m, "true")
	if err := caller.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	waitFor(t, "the machine to end with its caller", func() bool { return len(processesNaming(t, stateDir)) == 0 })
	checkGone(t, stateDir)
}

func waitFor(t *testing.T, what string, ok func() bool) {
	t.Helper()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	late := time.After(time.Minute)
	for !ok() {
		select {
		case <-tick.C:
		case <-late:
			t.Error("waited too long for ", what)
			return
		}
	}
}
