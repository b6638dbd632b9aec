// SPDX-License-Identifier: Apache-2.0

package prove

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/ambient22/ambient22/internal/osthread"
)

// kernel is a world that was built. It belongs to the thread whose namespace it is.
type kernel struct {
	world   World
	taps    []*tap
	log     *netlink
	track   *netlink
	routes  *netlink
	sockets []int
	buffer  []byte
	counts  counts // up to the last look
}

// inside builds the world in a new network namespace and calls f on a thread in
// it. The namespace has no name: it goes with the thread's last socket, whatever
// becomes of this process.
func inside(ctx context.Context, w World, f func(*kernel) error) error {
	return osthread.Throwaway(func() error {
		if err := unix.Unshare(unix.CLONE_NEWNET); err != nil {
			return fmt.Errorf("making a network namespace: %w", err)
		}
		k := &kernel{world: w, buffer: make([]byte, 2048)}
		err := k.build(ctx)
		if err == nil {
			err = f(k)
		}
		return errors.Join(err, k.close())
	})
}

func (k *kernel) build(ctx context.Context) error {
	for _, path := range []string{
		"net/ipv6/conf/all/disable_ipv6=1", "net/ipv6/conf/default/disable_ipv6=1",
		"net/ipv4/ip_forward=1", "net/ipv4/icmp_ratelimit=0", "net/ipv4/icmp_msgs_per_sec=1000000",
		"net/ipv4/icmp_msgs_burst=1000000",
	} {
		if err := setSysctl(path); err != nil {
			return err
		}
	}
	if err := k.openTaps(); err != nil {
		return err
	}
	steps := []struct{ program, input string }{
		{"ip -batch -", k.devices()},
		{"ipset restore", lines(k.world.Sets)},
		{"iptables-" + k.world.Variant + "-restore -w 60", restore(k.world.Tables)},
	}
	for _, s := range steps {
		if s.input == "" {
			continue
		}
		if _, err := command(ctx, s.input, strings.Fields(s.program)...); err != nil {
			return err
		}
	}
	// What makes no sense (a gateway that is nowhere) is left out of the world: the
	// dump says what is there.
	_, _ = command(ctx, k.routing(), "ip", "-force", "-batch", "-")
	for _, s := range k.world.Sysctls {
		if err := setSysctl(s); err != nil {
			return err
		}
	}
	// The engine takes sequence numbers to be as they should.
	if err := setSysctl("net/netfilter/nf_conntrack_tcp_be_liberal=1"); err != nil {
		return err
	}
	return k.listen()
}

func (k *kernel) openTaps() error {
	for i, l := range k.world.Links {
		t, err := openTap(l.Name, i+1)
		if err != nil {
			return err
		}
		k.taps = append(k.taps, t)
	}
	return nil
}

// devices are words for ip that bring up what there is.
func (k *kernel) devices() string {
	list := []string{"link set lo up"}
	for i, l := range k.world.Links {
		list = append(list, fmt.Sprintf("link set %s address 02:00:00:00:00:%02x up", l.Name, i+1))
		for _, a := range l.Addrs {
			list = append(list, fmt.Sprintf("addr add %s brd + dev %s", a, l.Name))
		}
	}
	return lines(list)
}

func (k *kernel) routing() string {
	var list []string
	for _, r := range k.world.Routes {
		list = append(list, "route add "+r)
	}
	for _, r := range k.world.Rules {
		list = append(list, "rule add "+r)
	}
	if k.world.NoMainRules {
		list = append(list, "rule del pref 32766", "rule del pref 32767")
	}
	return lines(list)
}

// listen opens what looks at packets, and the sockets they may be for.
func (k *kernel) listen() error {
	var err error
	if k.log, err = openLog(); err != nil {
		return err
	}
	if k.track, err = openNetlink(unix.NETLINK_NETFILTER); err != nil {
		return err
	}
	if k.routes, err = openNetlink(unix.NETLINK_ROUTE); err != nil {
		return err
	}
	for _, port := range k.world.Listeners {
		for _, kind := range []int{unix.SOCK_STREAM, unix.SOCK_DGRAM} {
			fd, err := listener(kind, port)
			if err != nil {
				return err
			}
			k.sockets = append(k.sockets, fd)
		}
	}
	return nil
}

func (k *kernel) close() error {
	fds := slices.Clone(k.sockets)
	for _, t := range k.taps {
		fds = append(fds, t.fd)
	}
	for _, n := range []*netlink{k.log, k.track, k.routes} {
		if n != nil {
			fds = append(fds, n.fd)
		}
	}
	var failed []error
	for _, fd := range fds {
		failed = append(failed, unix.Close(fd))
	}
	return errors.Join(failed...)
}

// setSysctl takes "path=value".
func setSysctl(s string) error {
	path, value, _ := strings.Cut(s, "=")
	if err := os.WriteFile(filepath.Join("/proc/sys", path), []byte(value), 0); err != nil {
		return fmt.Errorf("setting sysctl: %w", err)
	}
	return nil
}

func lines(list []string) string {
	if len(list) == 0 {
		return ""
	}
	return strings.Join(list, "\n") + "\n"
}

// command runs a program in the thread's namespace and returns what it prints.
func command(ctx context.Context, input string, words ...string) (string, error) {
	cmd := exec.CommandContext(ctx, words[0], words[1:]...)
	cmd.Stdin = strings.NewReader(input)
	var out, complaint bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &complaint
	if err := cmd.Run(); err != nil {
		return "", fmt.Errorf("running %s: %w: %s", strings.Join(words, " "), err, bytes.TrimSpace(complaint.Bytes()))
	}
	return out.String(), nil
}
