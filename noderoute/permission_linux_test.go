// SPDX-License-Identifier: Apache-2.0

package noderoute_test

import (
	"context"
	"errors"
	"os"
	"os/exec"
	"strings"
	"testing"

	"github.com/ambient22/ambient22/geneve"
	"github.com/ambient22/ambient22/noderoute"
	"github.com/ambient22/ambient22/noderoute/netnstest"
	"golang.org/x/sys/unix"
)

// alone runs both preflights in namespaces that prepare has spoilt, and wants a
// problem with these parts from each.
func alone(t *testing.T, prepare func() error, parts ...string) {
	t.Helper()
	netnstest.EnterAlone(t, func() {
		if err := prepare(); err != nil {
			t.Errorf("preparing: %v", err)
			return
		}
		n, err := noderoute.New(noderoute.Options{})
		if err != nil {
			t.Error(err)
			return
		}
		defer n.Close()
		host, err := n.Preflight(context.Background(), noderoute.HostConfig{Tunnel: geneve.VXLAN})
		if err != nil {
			t.Error(err)
		}
		wantProblem(t, host, parts...)
		pod, err := n.PreflightPod(context.Background(), noderoute.PodConfig{Tunnel: geneve.VXLAN})
		if err != nil {
			t.Error(err)
		}
		wantProblem(t, pod, parts...)
	})
}

func TestPreflightNamesMissingTools(t *testing.T) {
	alone(t, func() error {
		return unix.Mount("tmpfs", "/usr/sbin", "tmpfs", 0, "")
	}, "iptables-", "not installed", "apt-get install iptables")
}

func TestPreflightNamesReadOnlySysctls(t *testing.T) {
	alone(t, func() error {
		if err := unix.Mount("/proc/sys", "/proc/sys", "", unix.MS_BIND, ""); err != nil {
			return err
		}
		return unix.Mount("", "/proc/sys", "", unix.MS_REMOUNT|unix.MS_BIND|unix.MS_RDONLY, "")
	}, "sysctls cannot be changed", "/proc/sys", "privileged")
}

func TestPreflightNamesMissingCapability(t *testing.T) {
	alone(t, func() error {
		return dropCapability(unix.CAP_NET_ADMIN)
	}, "CAP_NET_ADMIN", "root")
}

// Without CAP_SYS_ADMIN nothing can be tried out; that is said, and does not
// block. A capability belongs to a thread, and trying out takes a new one, so
// this needs a process without it: the test runs itself once more.
func TestPreflightWithoutNamespaces(t *testing.T) {
	const child = "NODEROUTE_TEST_CHILD"
	if os.Getenv(child) == "" {
		cmd := exec.Command("unshare", "-n", "setpriv", "--bounding-set", "-sys_admin",
			"/proc/self/exe", "-test.run", "^"+t.Name()+"$", "-test.v")
		exe, err := os.Executable()
		if err != nil {
			t.Fatal(err)
		}
		cmd.Args[5] = exe
		cmd.Env = append(os.Environ(), child+"="+netnstest.Tunnel(t).String())
		out, err := cmd.CombinedOutput()
		if err != nil || !strings.Contains(string(out), "--- PASS: "+t.Name()) {
			t.Fatalf("%v\n%s", err, out)
		}
		return
	}
	n, err := noderoute.New(noderoute.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer n.Close()
	problems, err := n.Preflight(context.Background(), noderoute.HostConfig{Tunnel: geneve.VXLAN})
	if err != nil {
		t.Fatal(err)
	}
	wantProblem(t, problems, "cannot make a network namespace", "CAP_SYS_ADMIN")
	for _, p := range noderoute.Blocking(problems) {
		if strings.Contains(p.What, "namespace") || strings.Contains(p.What, "lacks") {
			t.Errorf("blocking: %s", p)
		}
	}
	if os.Getenv(child) == geneve.Geneve.String() {
		return // nothing is lacking
	}
	// What can be asked for without a namespace is still found.
	problems, err = n.Preflight(context.Background(), noderoute.HostConfig{Tunnel: geneve.Geneve})
	if err != nil {
		t.Fatal(err)
	}
	wantProblem(t, noderoute.Blocking(problems), "the kernel lacks geneve devices", "--tunnel=vxlan")
}

// A container that is not privileged has a read-only /proc/sys, and can be given the
// kernel's folder somewhere else. In it the thread sees its own namespace.
func TestSysctlsAreWrittenElsewhere(t *testing.T) {
	elsewhere := t.TempDir()
	netnstest.EnterAlone(t, func() {
		buildPod(t)
		if err := errors.Join(
			unix.Mount("/proc/sys", elsewhere, "", unix.MS_BIND, ""),
			unix.Mount("/proc/sys", "/proc/sys", "", unix.MS_BIND, ""),
			unix.Mount("", "/proc/sys", "", unix.MS_REMOUNT|unix.MS_BIND|unix.MS_RDONLY, ""),
		); err != nil {
			t.Errorf("preparing: %v", err)
			return
		}
		n, err := noderoute.New(noderoute.Options{ProcSys: elsewhere})
		if err != nil {
			t.Error(err)
			return
		}
		defer n.Close()
		config := noderoute.PodConfig{Tunnel: geneve.VXLAN}
		if problems, err := n.PreflightPod(context.Background(), config); err != nil || len(problems) > 0 {
			t.Errorf("preflight: %v, %v", problems, err)
		}
		if r, err := n.InitPod(context.Background(), config); err != nil || r.SysctlWrites == 0 {
			t.Errorf("%d settings written, %v", r.SysctlWrites, err)
		}
		for _, device := range []string{"pistioin", "pistioout"} {
			value, err := os.ReadFile("/proc/sys/net/ipv4/conf/" + device + "/rp_filter")
			if err != nil || string(value) != "0\n" {
				t.Errorf("%s: rp_filter = %q, %v", device, value, err)
			}
		}
	})
}

// dropCapability takes a capability from the calling thread.
func dropCapability(bit uint) error {
	header := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	var data [2]unix.CapUserData
	if err := unix.Capget(&header, &data[0]); err != nil {
		return err
	}
	data[bit/32].Effective &^= 1 << (bit % 32)
	return unix.Capset(&header, &data[0])
}
