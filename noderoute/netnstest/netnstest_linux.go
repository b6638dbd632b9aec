// SPDX-License-Identifier: Apache-2.0

// Package netnstest gives a test a network namespace of its own, so that the
// node packages can be tested against the real kernel without touching the
// machine they run on.
package netnstest

import (
	"errors"
	"io/fs"
	"net/netip"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/ambient22/ambient22/geneve"
	"golang.org/x/sys/unix"
)

// Enter moves the calling test into a new, empty network namespace with lo up
// until the test ends. The test stays on one thread; processes it starts with
// Run and sockets it opens are in the namespace too. Goroutines are not.
func Enter(t testing.TB) {
	t.Helper()
	runtime.LockOSThread()
	before, err := unix.Open("/proc/thread-self/ns/net", unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		t.Fatalf("opening the network namespace: %v", err)
	}
	if err := unix.Unshare(unix.CLONE_NEWNET); err != nil {
		t.Fatalf("making a network namespace (these tests run as root): %v", err)
	}
	t.Cleanup(func() {
		// A thread that could not go back stays locked and ends with its goroutine.
		if err := unix.Setns(before, unix.CLONE_NEWNET); err == nil {
			runtime.UnlockOSThread()
		}
		unix.Close(before)
	})
	// Without duplicate address detection nothing changes by itself later on.
	for _, where := range []string{"all", "default"} {
		path := "/proc/sys/net/ipv6/conf/" + where + "/accept_dad"
		if err := os.WriteFile(path, []byte("0"), 0); err != nil && !errors.Is(err, fs.ErrNotExist) {
			t.Fatal(err)
		}
	}
	Run(t, "ip link set lo up")
}

// EnterAlone is Enter with a mount namespace besides, for tests that hide or
// protect files. It runs f on a thread of its own that ends with it; f reports
// by t.Error.
func EnterAlone(t testing.TB, f func()) {
	t.Helper()
	done := make(chan error, 1)
	go func() {
		runtime.LockOSThread()
		err := unix.Unshare(unix.CLONE_NEWNET | unix.CLONE_NEWNS)
		if err == nil {
			err = unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, "")
		}
		if err == nil {
			f()
		}
		done <- err
	}()
	if err := <-done; err != nil {
		t.Fatalf("making namespaces (these tests run as root): %v", err)
	}
}

// Tunnel is the tunnel to test with: Geneve where the kernel has it, and the
// stand-in elsewhere. It asks in a namespace of its own.
func Tunnel(t testing.TB) geneve.Kind {
	t.Helper()
	kind := geneve.VXLAN
	EnterAlone(t, func() {
		c, err := geneve.Dial()
		if err != nil {
			t.Error(err)
			return
		}
		defer c.Close()
		d := geneve.Device{
			Name: "probe", VNI: 1, Port: geneve.DefaultPort,
			Remote: netip.MustParseAddr("192.0.2.1"), Addr: netip.MustParsePrefix("192.0.2.5/30"),
		}
		err = c.Apply(geneve.Diff([]geneve.Device{d}, nil))
		switch {
		case err == nil:
			kind = geneve.Geneve
		case !errors.Is(err, geneve.ErrUnsupported):
			t.Error(err)
		}
	})
	return kind
}

// Settle waits until every veth whose both ends are up says so. The kernel
// tells the second end a moment later.
func Settle(t testing.TB) {
	t.Helper()
	for end := time.Now().Add(10 * time.Second); strings.Contains(Run(t, "ip link"), "LOWERLAYERDOWN"); {
		if time.Now().After(end) {
			t.Fatal("a veth does not come up")
		}
	}
}

// Run runs a command line without a shell, split at blanks, and returns what
// it printed; the test ends where it fails.
func Run(t testing.TB, line string) string {
	t.Helper()
	out, err := Try(line)
	if err != nil {
		t.Fatalf("%s: %v\n%s", line, err, out)
	}
	return out
}

// Try is Run that hands the error to its caller.
func Try(line string) (string, error) {
	words := strings.Fields(line)
	out, err := exec.Command(words[0], words[1:]...).CombinedOutput()
	return string(out), err
}

// Input runs a command line with standard input.
func Input(t testing.TB, line, stdin string) string {
	t.Helper()
	words := strings.Fields(line)
	cmd := exec.Command(words[0], words[1:]...)
	cmd.Stdin = strings.NewReader(stdin)
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%s: %v\n%s", line, err, out)
	}
	return string(out)
}
