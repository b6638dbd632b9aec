// SPDX-License-Identifier: Apache-2.0

//go:build e2e

package e2e

import (
	"bytes"
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/ambient22/ambient22/internal/osthread"
)

// room is the network of a node that has no kubelet: the test makes the veths of its
// pods. It is a network namespace without a name, so it goes with the test, however
// that ends.
type room struct {
	work chan func()
	path string // of the namespace
}

// The harness's place in the cluster's network.
const (
	harness        = "harness"
	harnessAddress = "10.168.15.230"
	harnessPods    = "10.4.64.0/22"
	gateway        = "10.168.15.1" // the control plane
)

// address is that of the harness's pod of a number, 0 for the ztunnel.
func address(pod int) netip.Addr {
	a := netip.MustParsePrefix(harnessPods).Addr()
	for range pod + 2 { // after the range's own, and the node's
		a = a.Next()
	}
	return a
}

// newRoom makes a node's network with veths and routes for so many pods and a
// ztunnel, on the cluster's link.
func newRoom(t *testing.T, pods int) *room {
	t.Helper()
	r := &room{work: make(chan func())}
	made := make(chan error)
	go osthread.Throwaway(func() error {
		err := unix.Unshare(unix.CLONE_NEWNET)
		r.path = fmt.Sprintf("/proc/%d/task/%d/ns/net", os.Getpid(), unix.Gettid())
		made <- err
		for f := range r.work {
			f()
		}
		return nil
	})
	if err := <-made; err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { close(r.work) })
	for _, setting := range []string{"net.ipv6.conf.all.disable_ipv6=1", "net.ipv6.conf.default.disable_ipv6=1", "net.ipv4.ip_forward=1"} {
		r.run(t, "", "sysctl", "-qw", setting)
	}
	r.run(t, strings.Join(r.links(pods), "\n"), "ip", "-batch", "-")
	// The kernel would take it away with the namespace, but at its leisure.
	t.Cleanup(func() { output(t, exec.Command("ip", "link", "del", harness)) })
	output(t, exec.Command("ip", "link", "set", harness, "master", "br0", "up"))
	r.run(t, "route add default via "+gateway, "ip", "-batch", "-")
	return r
}

func (r *room) links(pods int) []string {
	lines := []string{
		"link set lo up",
		"address add " + netip.MustParsePrefix(harnessPods).Addr().Next().String() + "/32 dev lo",
		fmt.Sprintf("link add eth0 type veth peer name %s netns %d", harness, os.Getpid()),
		"address add " + harnessAddress + "/24 dev eth0",
		"link set eth0 up",
	}
	for i := range pods + 1 {
		lines = append(lines,
			fmt.Sprintf("link add veth%d up type veth peer name peer%d", i, i),
			fmt.Sprintf("link set peer%d up", i),
			fmt.Sprintf("route add %s dev veth%d", address(i), i))
	}
	return lines
}

// do runs f on a thread in the room.
func (r *room) do(f func()) {
	done := make(chan struct{})
	r.work <- func() {
		defer close(done)
		f()
	}
	<-done
}

// run runs a command in the room and returns what it printed.
func (r *room) run(t *testing.T, stdin string, argv ...string) string {
	t.Helper()
	cmd := exec.Command("nsenter", append([]string{"--net=" + r.path, "--"}, argv...)...)
	cmd.Stdin = strings.NewReader(stdin)
	return output(t, cmd)
}

func output(t *testing.T, cmd *exec.Cmd) string {
	t.Helper()
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("%v: %v: %s", cmd.Args, err, bytes.TrimSpace(stderr.Bytes()))
	}
	return string(out)
}
