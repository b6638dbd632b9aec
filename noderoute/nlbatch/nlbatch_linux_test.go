// SPDX-License-Identifier: Apache-2.0

package nlbatch_test

import (
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/ambient22/ambient22/noderoute/netnstest"
	"github.com/ambient22/ambient22/noderoute/nlbatch"
	"golang.org/x/sys/unix"
)

func dial(t *testing.T) *nlbatch.Conn {
	t.Helper()
	c, err := nlbatch.Dial(unix.NETLINK_ROUTE)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c
}

func addRule(b *nlbatch.Batch, priority uint32) {
	msg := make([]byte, unix.SizeofRtMsg)
	msg[0], msg[4], msg[7] = unix.AF_INET, 100, 1
	b.Begin(unix.RTM_NEWRULE, unix.NLM_F_CREATE|unix.NLM_F_EXCL, msg)
	b.Uint32(unix.FRA_PRIORITY, priority)
}

// A batch of many buffers: those refused are named by their place, all others
// take effect, and the connection can be used again.
func TestSendTellsWhichFailed(t *testing.T) {
	netnstest.Enter(t)
	c := dial(t)
	var b nlbatch.Batch
	var want []int
	for i := range 1_000 {
		priority := uint32(1_000 + i)
		if i%300 == 299 || i == 255 { // also the last of a buffer
			priority = 1_000
			want = append(want, i)
		}
		addRule(&b, priority)
	}
	failures, err := c.Send(&b)
	if err != nil {
		t.Fatal(err)
	}
	var got []int
	for _, f := range failures {
		got = append(got, f.Index)
		if !errors.Is(f.Err, unix.EEXIST) {
			t.Errorf("request %d: %v", f.Index, f.Err)
		}
	}
	if !slices.Equal(got, want) {
		t.Errorf("refused are %v, want %v", got, want)
	}
	if n := strings.Count(netnstest.Run(t, "ip rule"), "lookup 100"); n != 1_000-len(want) {
		t.Errorf("%d rules are there", n)
	}
	count := 0
	var dump nlbatch.Batch
	msg := make([]byte, unix.SizeofRtMsg)
	msg[0] = unix.AF_INET
	dump.Begin(unix.RTM_GETRULE, 0, msg)
	err = c.Dump(&dump, func() { count = 0 }, func(nlbatch.Message) error { count++; return nil })
	if err != nil || count != 1_000-len(want)+3 {
		t.Errorf("dumped %d rules: %v", count, err)
	}
}

func TestErrorsCarryTheKernelsWords(t *testing.T) {
	netnstest.Enter(t)
	var b nlbatch.Batch
	msg := make([]byte, unix.SizeofRtMsg)
	msg[0] = unix.AF_INET
	b.Begin(unix.RTM_NEWRULE, unix.NLM_F_CREATE, msg)
	b.Bytes(unix.FRA_PRIORITY, []byte{1})
	failures, err := dial(t).Send(&b)
	if err != nil || len(failures) != 1 {
		t.Fatalf("Send: %v, %v", failures, err)
	}
	var refused *nlbatch.Error
	if !errors.As(failures[0].Err, &refused) || refused.Message == "" {
		t.Errorf("the error is %v", failures[0].Err)
	}
}

func TestAttributesStopAtDamage(t *testing.T) {
	for _, p := range [][]byte{nil, {1}, {3, 0, 0, 0}, {8, 0, 1, 0, 9}, {255, 255, 1, 0}} {
		for a := range nlbatch.Attributes(p) {
			t.Errorf("an attribute out of %v: %v", p, a)
		}
	}
}

func FuzzAttributes(f *testing.F) {
	f.Add([]byte{8, 0, 1, 0, 1, 2, 3, 4, 5, 0, 2, 0, 7})
	f.Fuzz(func(t *testing.T, p []byte) {
		n := 0
		for a := range nlbatch.Attributes(p) {
			n += 4 + len(a.Value)
			_, _, _, _ = a.String(), a.Uint32(), a.Uint16BE(), a.Addr()
		}
		if n > len(p) {
			t.Errorf("%d bytes of attributes in %d bytes", n, len(p))
		}
	})
}
