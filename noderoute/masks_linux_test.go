// SPDX-License-Identifier: Apache-2.0

package noderoute_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/ambient22/ambient22/noderoute"
	"github.com/ambient22/ambient22/noderoute/netnstest"
)

// On a hardened node, every rule that sets a mark says which bits it sets, and these
// are the bits of the mark itself. Between the two forms one chain and one ip rule are
// written anew, in place, and both are cleaned up.
func TestMarksWithAndWithoutMasks(t *testing.T) {
	forVariants(t, func(t *testing.T, v noderoute.Variant) {
		c := nodeA(t)
		buildNode(t, c, v)
		n := newNode(t, v)
		clean := dump(t)
		apply(t, n, c)
		article := dump(t)
		wantSetMarks(t, v, "0x220/0xffffffff")

		c.Hardened = true
		wantInPlace(t, apply(t, n, c))
		wantSetMarks(t, v)
		if r := apply(t, n, c); r.Writes() != 0 {
			t.Errorf("a second run with masks: %+v", r)
		}

		c.Hardened = false
		wantInPlace(t, apply(t, n, c))
		wantSame(t, article, dump(t))

		c.Hardened = true
		apply(t, n, c)
		if _, err := n.Cleanup(context.Background()); err != nil {
			t.Fatal(err)
		}
		wantSame(t, clean, dump(t))
	})
}

// wantInPlace checks that a change of the form touched the chain for the node's own
// packets, the ip rule that leaves them out, and nothing else.
func wantInPlace(t *testing.T, r noderoute.Result) {
	t.Helper()
	all := strings.Join(r.Changes, "\n")
	if r.Writes() != 3 || len(r.Changes) != 3 || !strings.Contains(all, "write chain ztunnel-OUTPUT") || strings.Count(all, "103:\tfrom all") != 2 {
		t.Errorf("changing the form: %d writes, %q", r.Writes(), r.Changes)
	}
}

// wantSetMarks looks at every rule that sets a mark: those named may set more
// bits than the mark has, all others set exactly theirs.
func wantSetMarks(t *testing.T, v noderoute.Variant, wide ...string) {
	t.Helper()
	var found int
	for line := range strings.Lines(netnstest.Run(t, "iptables-"+v.String()+"-save -t mangle")) {
		_, value, sets := strings.Cut(strings.TrimSpace(line), "--set-xmark ")
		if !sets {
			continue
		}
		found++
		mark, bits, _ := strings.Cut(value, "/")
		if mark == bits {
			continue
		}
		if len(wide) == 0 || wide[0] != value {
			t.Errorf("sets bits that are not its own: %s", line)
			continue
		}
		wide = wide[1:]
	}
	if found == 0 || len(wide) > 0 {
		t.Errorf("%d rules set a mark; not found: %v", found, wide)
	}
}

// A packet from the node itself that carries somebody else's mark bit still has
// it after our rules where marks are masked, and has lost it where they are not.
func TestOthersMarkBitsOnTheNodesOwnPackets(t *testing.T) {
	const theirs = 0x4000
	forVariants(t, func(t *testing.T, v noderoute.Variant) {
		c := nodeA(t)
		buildNode(t, c, v)
		n := newNode(t, v)
		for _, masked := range []bool{false, true} {
			c.Hardened = masked
			apply(t, n, c)
			want := uint32(noderoute.ConnSkipMark)
			if masked {
				want |= theirs
			}
			rule := fmt.Sprintf("POSTROUTING -m mark --mark %#x -j RETURN", want)
			netnstest.Run(t, "iptables-"+v.String()+" -t mangle -A "+rule)
			sendMarked(t, c.HostIP.As4(), c.Pods[0].IP.As4(), theirs)
			save := netnstest.Run(t, "iptables-"+v.String()+"-save -c -t mangle")
			if !strings.Contains(save, "[1:29] -A "+rule) {
				t.Errorf("masked %v: no packet left with mark %#x:\n%s", masked, want, save)
			}
			netnstest.Run(t, "iptables-"+v.String()+" -t mangle -D "+rule)
		}
	})
}

// sendMarked sends one byte over UDP with a mark, the way a program on the node
// does.
func sendMarked(t *testing.T, from, to [4]byte, mark int) {
	t.Helper()
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(fd)
	if err := unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_MARK, mark); err != nil {
		t.Fatal(err)
	}
	if err := unix.Bind(fd, &unix.SockaddrInet4{Addr: from}); err != nil {
		t.Fatal(err)
	}
	if err := unix.Sendto(fd, []byte{0}, 0, &unix.SockaddrInet4{Addr: to, Port: 9}); err != nil && !errors.Is(err, unix.EHOSTUNREACH) {
		t.Fatal(err)
	}
}
