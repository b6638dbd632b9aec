// SPDX-License-Identifier: Apache-2.0

package ipset_test

import (
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"testing"

	"github.com/ambient22/ambient22/ipset"
	"github.com/ambient22/ambient22/noderoute/netnstest"
	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
)

const name = "ztunnel-pods-ips"

func dial(t *testing.T) *ipset.Conn {
	t.Helper()
	c, err := ipset.Dial()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c
}

func entries(n int) []ipset.Entry {
	var out []ipset.Entry
	ip := netip.MustParseAddr("10.4.0.0")
	for i := range n {
		ip = ip.Next()
		out = append(out, ipset.Entry{IP: ip, Comment: fmt.Sprintf("85c8c34e-7ae3-4d29-9582-%012d", i)})
	}
	return out
}

// settle diffs and applies, and fails unless a second diff is empty.
func settle(t *testing.T, c *ipset.Conn, want *ipset.Set) ipset.Changes {
	t.Helper()
	have, err := c.List(name)
	if err != nil {
		t.Fatal(err)
	}
	changes := ipset.Diff(name, want, have)
	if err := c.Apply(changes); err != nil {
		t.Fatal(err)
	}
	have, err = c.List(name)
	if err != nil {
		t.Fatal(err)
	}
	if again := ipset.Diff(name, want, have); !again.Empty() {
		t.Fatalf("a second diff is not empty: %v", again.Lines())
	}
	return changes
}

func TestSetLife(t *testing.T) {
	netnstest.Enter(t)
	c := dial(t)
	all := entries(10_000)

	settle(t, c, &ipset.Set{Name: name})
	if out := netnstest.Run(t, "ipset list "+name); !strings.Contains(out, "Type: hash:ip") || !strings.Contains(out, "comment") {
		t.Fatalf("ipset lists\n%s", out)
	}
	settle(t, c, &ipset.Set{Name: name, Entries: all})
	if c.Writes > 60 {
		t.Errorf("10,000 entries took %d messages", c.Writes)
	}
	have, err := c.List(name)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(all, have.Entries, cmpopts.EquateComparable(netip.Addr{})); diff != "" {
		t.Errorf("listed entries differ (-want +got):\n%s", diff)
	}

	// One leaves, one comes, and one address now belongs to another pod.
	next := append([]ipset.Entry{{IP: netip.MustParseAddr("10.5.0.1"), Comment: "new"}}, all[1:]...)
	next[5].Comment = "another pod"
	changes := settle(t, c, &ipset.Set{Name: name, Entries: next})
	want := []string{
		`ipset add ztunnel-pods-ips ` + next[5].IP.String() + ` comment "another pod"`,
		`ipset add ztunnel-pods-ips 10.5.0.1 comment "new"`,
		`ipset del ztunnel-pods-ips 10.4.0.1`,
	}
	if diff := cmp.Diff(want, changes.Lines()); diff != "" {
		t.Errorf("changes differ (-want +got):\n%s", diff)
	}

	settle(t, c, nil)
	if out := netnstest.Run(t, "ipset list"); out != "" {
		t.Errorf("after destroying, ipset lists\n%s", out)
	}
}

func TestListOfNothing(t *testing.T) {
	netnstest.Enter(t)
	have, err := dial(t).List(name)
	if err != nil || have != nil {
		t.Fatalf("List of an absent set: %v, %v", have, err)
	}
}

func TestSetWithoutComments(t *testing.T) {
	netnstest.Enter(t)
	c := dial(t)
	netnstest.Run(t, "ipset create "+name+" hash:ip")
	netnstest.Run(t, "ipset add "+name+" 10.4.0.1")
	have, err := c.List(name)
	if err != nil {
		t.Fatal(err)
	}
	if have.Comments || !have.Ours() {
		t.Fatalf("listed %+v", have)
	}
	want := &ipset.Set{Name: name, Entries: []ipset.Entry{{IP: netip.MustParseAddr("10.4.0.1"), Comment: "uid"}}}
	if changes := ipset.Diff(name, want, have); !changes.Empty() {
		t.Errorf("a set without comments is changed for the sake of comments: %v", changes.Lines())
	}
	// A set that was made without comments takes new members without theirs.
	want.Entries = append(want.Entries, ipset.Entry{IP: netip.MustParseAddr("10.4.0.2"), Comment: "uid2"})
	if err := c.Apply(ipset.Diff(name, want, have)); err != nil {
		t.Fatal(err)
	}
}

func TestForeignType(t *testing.T) {
	netnstest.Enter(t)
	c := dial(t)
	netnstest.Run(t, "ipset create "+name+" hash:net")
	have, err := c.List(name)
	if err != nil {
		t.Fatal(err)
	}
	if have == nil || have.Ours() || have.Type != "hash:net" {
		t.Fatalf("listed %+v", have)
	}
	if err := c.Apply(ipset.Changes{Name: name, Create: true}); !errors.Is(err, ipset.ErrOtherType) {
		t.Errorf("creating over a foreign set: %v", err)
	}
}

func TestErrorsNameTheEntry(t *testing.T) {
	netnstest.Enter(t)
	c := dial(t)
	netnstest.Run(t, "ipset create "+name+" hash:ip maxelem 64")
	err := c.Apply(ipset.Changes{Name: name, Add: entries(300)})
	if !errors.Is(err, ipset.ErrFull) || !strings.Contains(err.Error(), "entry 10.4.0.") {
		t.Errorf("overfilling a set: %v", err)
	}
	err = c.Apply(ipset.Changes{Name: name, Add: []ipset.Entry{{IP: netip.MustParseAddr("fd00::1")}}})
	if err == nil || !strings.Contains(err.Error(), "fd00::1") {
		t.Errorf("adding an IPv6 address: %v", err)
	}
}

func TestDestroyInUse(t *testing.T) {
	netnstest.Enter(t)
	c := dial(t)
	settle(t, c, &ipset.Set{Name: name, Entries: entries(1)})
	netnstest.Run(t, "iptables-nft -t mangle -A PREROUTING -m set --match-set "+name+" src -j ACCEPT")
	have, err := c.List(name)
	if err != nil || have.References == 0 {
		t.Fatalf("listed %+v, %v", have, err)
	}
	if err := c.Apply(ipset.Changes{Name: name, Destroy: true}); !errors.Is(err, ipset.ErrBusy) {
		t.Errorf("destroying a set in use: %v", err)
	}
}
