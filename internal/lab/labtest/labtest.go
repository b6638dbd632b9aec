// SPDX-License-Identifier: Apache-2.0

// Package labtest brings up labs for the tests of other packages.
package labtest

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/ambient22/ambient22/internal/lab"
	"github.com/ambient22/ambient22/internal/lab/netns"
)

// Up builds the commands and brings up a lab of the test's own, on this kernel, with
// VXLAN and legacy iptables. It is taken away when the test ends. name begins the names
// of its namespaces.
func Up(t testing.TB, name string) *lab.Lab {
	t.Helper()
	bin := t.TempDir()
	build := exec.Command("go", "build", "-buildvcs=false", "-o", bin+"/",
		"github.com/ambient22/ambient22/cmd/ambientctl", "github.com/ambient22/ambient22/cmd/ambient-node", "github.com/ambient22/ambient22/cmd/ztunnel")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("building the commands: %v\n%s", err, out)
	}
	l, err := lab.Up(t.Context(), lab.Options{
		Name: fmt.Sprintf("%s%d", name, os.Getpid()), StateDir: filepath.Join(t.TempDir(), "labs"), BinDir: bin,
		Iptables: "legacy", Tunnel: "vxlan", Timeout: 60 * time.Second,
	}, nil)
	if l != nil {
		t.Cleanup(func() {
			if err := l.Net.Destroy(context.WithoutCancel(t.Context())); err != nil {
				t.Errorf("taking the lab away: %v", err)
			}
		})
	}
	if err != nil {
		t.Fatal(err)
	}
	return l
}

// PID is a host's process of that program; 0 where there is none.
func PID(t testing.TB, l *lab.Lab, host, program string) int {
	t.Helper()
	pids, err := netns.Pids(l.Net.Namespace(host))
	if err != nil {
		t.Fatal(err)
	}
	for _, pid := range pids {
		if exe, err := os.Readlink(fmt.Sprintf("/proc/%d/exe", pid)); err == nil && filepath.Base(exe) == program {
			return pid
		}
	}
	return 0
}
