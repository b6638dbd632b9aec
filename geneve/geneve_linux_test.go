// SPDX-License-Identifier: Apache-2.0

package geneve_test

import (
	"errors"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"github.com/ambient22/ambient22/geneve"
	"github.com/ambient22/ambient22/noderoute/netnstest"
	"github.com/google/go-cmp/cmp"
)

// device is the article's istioout (listing 04), by default as the stand-in:
// not every kernel this runs on has Geneve.
func device(kind geneve.Kind) geneve.Device {
	return geneve.Device{
		Name: "istioout", Kind: kind, VNI: 1001, Remote: netip.MustParseAddr("10.4.4.18"), Port: geneve.DefaultPort,
		Addr: netip.MustParsePrefix("192.168.127.1/30"), Broadcast: true,
	}
}

// kinds are the tunnels this kernel has; VXLAN is always among them.
func kinds(t *testing.T) []geneve.Kind {
	t.Helper()
	if netnstest.Tunnel(t) == geneve.Geneve {
		return []geneve.Kind{geneve.Geneve, geneve.VXLAN}
	}
	t.Log("this kernel has no Geneve: tested with VXLAN only, Geneve itself in the lab's machine")
	return []geneve.Kind{geneve.VXLAN}
}

func dial(t *testing.T) *geneve.Conn {
	t.Helper()
	c, err := geneve.Dial()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c
}

func settle(t *testing.T, c *geneve.Conn, want ...geneve.Device) []string {
	t.Helper()
	var names []string
	for _, d := range want {
		names = append(names, d.Name)
	}
	list := func() []geneve.Link {
		have, err := c.List(names...)
		if err != nil {
			t.Fatal(err)
		}
		return have
	}
	changes := geneve.Diff(want, list())
	if err := c.Apply(changes); err != nil {
		t.Fatal(err)
	}
	if again := geneve.Diff(want, list()); len(again) > 0 {
		t.Fatalf("a second diff is not empty: %v", again)
	}
	var lines []string
	for _, ch := range changes {
		lines = append(lines, ch.String())
	}
	return lines
}

func wantLines(t *testing.T, got []string, want ...string) {
	t.Helper()
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("changes differ (-want +got):\n%s", diff)
	}
}

func wantPrinted(t *testing.T, command string, parts ...string) {
	t.Helper()
	out := netnstest.Run(t, command)
	for _, p := range parts {
		if !strings.Contains(out, p) {
			t.Errorf("%s does not print %q:\n%s", command, p, out)
		}
	}
}

func TestDeviceLife(t *testing.T) {
	netnstest.Enter(t)
	for _, kind := range kinds(t) {
		t.Run(kind.String(), func(t *testing.T) {
			c := dial(t)
			netnstest.Run(t, "ip link add veth0 mtu 1460 type veth peer name veth1 mtu 1460")
			netnstest.Run(t, "ip link set veth0 up")
			netnstest.Run(t, "ip link set veth1 up")
			netnstest.Run(t, "ip route add 10.4.4.18 dev veth0")
			netnstest.Run(t, "ip route add 10.4.4.30 dev veth0")
			d := device(kind)
			wantLines(t, settle(t, c, d),
				"ip link add istioout "+kind.String()+" id 1001 remote 10.4.4.18 dstport 6081 addr 192.168.127.1/30 brd 192.168.127.3 txqueuelen 0")
			out := netnstest.Run(t, "ip -d addr show istioout")
			if strings.Contains(out, "qlen") {
				t.Errorf("a queue length is printed:\n%s", out)
			}
			wantPrinted(t, "ip -d addr show istioout", "<BROADCAST,MULTICAST,UP,LOWER_UP>",
				kind.String()+" id 1001 remote 10.4.4.18", "dstport 6081", "ttl auto",
				"inet 192.168.127.1/30 brd 192.168.127.3 scope global istioout")
			if kind == geneve.Geneve {
				wantPrinted(t, "ip -d addr show istioout", " mtu 1410 ", "dstport 6081 noudpcsum udp6zerocsumrx ")
			}

			// The other end moves: in place, and its neighbour is forgotten.
			netnstest.Run(t, "ip neigh add 192.168.127.2 lladdr 02:00:00:00:00:01 dev istioout nud reachable")
			index := link(t, c).Index
			d.Remote = netip.MustParseAddr("10.4.4.30")
			wantLines(t, settle(t, c, d), "ip link set istioout remote 10.4.4.30")
			if got := link(t, c).Index; got != index {
				t.Errorf("the device was made anew: index %d became %d", index, got)
			}
			if out := netnstest.Run(t, "ip neigh show dev istioout"); strings.Contains(out, "02:00:00:00:00:01") {
				t.Errorf("the old far end is remembered: %s", out)
			}

			// Drift.
			netnstest.Run(t, "ip addr flush dev istioout")
			netnstest.Run(t, "ip addr add 192.168.127.1/30 dev istioout")
			netnstest.Run(t, "ip link set istioout down txqueuelen 500")
			wantLines(t, settle(t, c, d),
				"ip link set istioout txqueuelen 0",
				"ip addr del 192.168.127.1/30 dev istioout",
				"ip addr add 192.168.127.1/30 dev istioout",
				"ip link set istioout up")
			netnstest.Run(t, "ip link del istioout")
			settle(t, c, d)

			// What is fixed for life.
			d.Port = 6082
			wantLines(t, settle(t, c, d), "ip link del istioout", "ip link add "+d.String())
			d.VNI = 77
			wantLines(t, settle(t, c, d), "ip link del istioout", "ip link add "+d.String())

			have, err := c.List("istioout")
			if err != nil {
				t.Fatal(err)
			}
			if err := c.Apply(geneve.Removal(have)); err != nil {
				t.Fatal(err)
			}
			if out := netnstest.Run(t, "ip link"); strings.Contains(out, "istioout") {
				t.Errorf("still there:\n%s", out)
			}
			netnstest.Run(t, "ip link del veth0")
		})
	}
}

func link(t *testing.T, c *geneve.Conn) geneve.Link {
	t.Helper()
	have, err := c.List("istioout")
	if err != nil || len(have) != 1 {
		t.Fatalf("listing istioout: %v, %v", have, err)
	}
	return have[0]
}

func TestForeignDeviceStays(t *testing.T) {
	netnstest.Enter(t)
	netnstest.Run(t, "ip link add istioout type bridge")
	c := dial(t)
	want := []geneve.Device{device(geneve.VXLAN)}
	have, err := c.List("istioout")
	if err != nil {
		t.Fatal(err)
	}
	if changes := geneve.Diff(want, have); len(changes) > 0 {
		t.Errorf("changes on a foreign device: %v", changes)
	}
	if changes := geneve.Removal(have); len(changes) > 0 {
		t.Errorf("removal of a foreign device: %v", changes)
	}
	if foreign := geneve.Foreign(want, have); len(foreign) != 1 || foreign[0].Kind != "bridge" {
		t.Errorf("Foreign = %+v", foreign)
	}
}

func TestOtherKindIsMadeAnew(t *testing.T) {
	d := device(geneve.VXLAN)
	have := []geneve.Link{{Name: "istioout", Index: 7, Kind: "geneve", VNI: 1001, Port: 6081}}
	changes := geneve.Diff([]geneve.Device{d}, have)
	ops := []geneve.Op{geneve.OpDelete, geneve.OpCreate}
	for i, ch := range changes {
		if i >= len(ops) || ch.Op != ops[i] {
			t.Fatalf("changes = %v", changes)
		}
	}
}

// A tunnel of one kind cannot come up while one of the other holds the port.
func TestAllOfAnotherKindGoBeforeAnyIsMade(t *testing.T) {
	in, out := device(geneve.VXLAN), device(geneve.VXLAN)
	in.Name, in.VNI = "istioin", 1000
	have := []geneve.Link{
		{Name: "istioin", Index: 6, Kind: "geneve", VNI: 1000, Port: 6081},
		{Name: "istioout", Index: 7, Kind: "geneve", VNI: 1001, Port: 6081},
	}
	var ops []geneve.Op
	for _, ch := range geneve.Diff([]geneve.Device{in, out}, have) {
		ops = append(ops, ch.Op)
	}
	if want := []geneve.Op{geneve.OpDelete, geneve.OpDelete, geneve.OpCreate, geneve.OpCreate}; !slices.Equal(ops, want) {
		t.Errorf("operations %v, want %v", ops, want)
	}
}

func TestPortHeldByAnother(t *testing.T) {
	netnstest.Enter(t)
	netnstest.Run(t, "ip link add other type vxlan id 1001 remote 10.4.4.18 dstport 6081")
	netnstest.Run(t, "ip link set other up")
	c := dial(t)
	err := c.Apply(geneve.Diff([]geneve.Device{device(geneve.VXLAN)}, nil))
	if !errors.Is(err, geneve.ErrInUse) {
		t.Errorf("creating a second tunnel of the same identifier: %v", err)
	}
	links, err := c.Links()
	if err != nil {
		t.Fatal(err)
	}
	if !slices.ContainsFunc(links, func(l geneve.Link) bool { return l.Name == "other" && l.Port == 6081 && l.VNI == 1001 }) {
		t.Errorf("Links() = %+v", links)
	}
}

func TestAskingForAKindMakesNothing(t *testing.T) {
	netnstest.Enter(t)
	c := dial(t)
	for _, kind := range kinds(t) {
		if err := c.Known(kind); err != nil {
			t.Errorf("%s: %v", kind, err)
		}
	}
	if netnstest.Tunnel(t) != geneve.Geneve {
		if err := c.Known(geneve.Geneve); !errors.Is(err, geneve.ErrUnsupported) {
			t.Errorf("a kernel without Geneve says %v", err)
		}
	}
	links, err := c.Links()
	if err != nil || len(links) != 1 {
		t.Errorf("links: %+v, %v, want the loopback alone", links, err)
	}
}

func TestParseKind(t *testing.T) {
	for _, k := range []geneve.Kind{geneve.Geneve, geneve.VXLAN} {
		if got, err := geneve.ParseKind(k.String()); got != k || err != nil {
			t.Errorf("ParseKind(%q) = %v, %v", k, got, err)
		}
	}
	if _, err := geneve.ParseKind("gre"); err == nil {
		t.Error("ParseKind takes gre")
	}
}
