// SPDX-License-Identifier: Apache-2.0

package noderoute

import (
	"fmt"
	"net/netip"
	"slices"
	"testing"

	"github.com/ambient22/ambient22/geneve"
)

func z(n int) Ztunnel {
	return Ztunnel{IP: netip.AddrFrom4([4]byte{10, 4, 4, byte(100 + n)}), Veth: fmt.Sprintf("veth%d", n)}
}

func TestPlace(t *testing.T) {
	var nobody Ztunnel
	inUse := func(owners ...Ztunnel) (s slots) {
		for i, o := range owners {
			s[i+1] = slot{owner: o, used: o != nobody}
		}
		return s
	}
	foreign := inUse(nobody, z(2))
	foreign[1].foreign = true
	for name, c := range map[string]struct {
		live     []Ztunnel
		replaced Ztunnel
		have     slots
		drains   []Drain
		begins   int
		ending   []int
		over     []netip.Addr
	}{
		"nobody":              {},
		"never active":        {live: []Ztunnel{z(1)}},
		"first":               {live: []Ztunnel{z(1)}, replaced: z(1), drains: []Drain{{z(1), 1}}, begins: 1},
		"the same again":      {live: []Ztunnel{z(1)}, replaced: z(1), have: inUse(z(1)), drains: []Drain{{z(1), 1}}, begins: 1},
		"goes on":             {live: []Ztunnel{z(1)}, have: inUse(z(1)), drains: []Drain{{z(1), 1}}},
		"second":              {live: []Ztunnel{z(2), z(1)}, replaced: z(2), have: inUse(z(1)), drains: []Drain{{z(1), 1}, {z(2), 2}}, begins: 2},
		"gone":                {have: inUse(z(1)), ending: []int{1}},
		"active again":        {live: []Ztunnel{z(2)}, replaced: z(2), have: inUse(z(1)), drains: []Drain{{z(2), 2}}, begins: 2, ending: []int{1}},
		"dead when replaced":  {replaced: z(1)},
		"address used again":  {live: []Ztunnel{{z(1).IP, "other"}}, have: inUse(z(1)), ending: []int{1}},
		"somebody's table":    {live: []Ztunnel{z(3), z(2)}, replaced: z(3), have: foreign, drains: []Drain{{z(2), 2}, {z(3), 3}}, begins: 3},
		"the oldest gives up": {live: []Ztunnel{z(4), z(3), z(2), z(1)}, replaced: z(4), have: inUse(z(1), z(2), z(3)), drains: []Drain{{z(4), 1}, {z(2), 2}, {z(3), 3}}, begins: 1, ending: []int{1}, over: []netip.Addr{z(1).IP}},
	} {
		t.Run(name, func(t *testing.T) {
			p := place(c.live, c.replaced, c.have)
			var ending []int
			for _, d := range p.ending {
				ending = append(ending, d.Slot)
			}
			if !slices.Equal(p.drains, c.drains) || p.begins.Slot != c.begins || !slices.Equal(ending, c.ending) || !slices.Equal(p.over, c.over) {
				t.Errorf("%+v", p)
			}
		})
	}
}

// Who belongs to the ztunnel that is replaced, and who does not.
func TestSweepPicks(t *testing.T) {
	pod, other, host := z(1).IP, netip.MustParseAddr("192.0.2.1"), netip.MustParseAddr("10.4.4.1")
	w := &sweep{
		begins: Drain{z(9), 2}, taken: map[int]bool{2: true, 3: true}, pods: map[netip.Addr]bool{pod: true},
		host: host, local: map[netip.Addr]bool{host: true},
	}
	for name, c := range map[string]struct {
		flow flow
		want uint32
	}{
		"captured":                      {flow{src: pod, peer: other, tcp: true, open: true}, 0x800},
		"to a captured pod":             {flow{src: other, peer: pod, tcp: true, open: true}, 0x800},
		"opened with a pod's address":   {flow{src: other, peer: other, tcp: true, open: true, mark: 0x210}, 0x800},
		"others' bits stay":             {flow{src: pod, peer: other, tcp: true, open: true, mark: 0x4000}, 0x800},
		"ztunnel's own":                 {flow{src: pod, peer: other, tcp: true, open: true, mark: 0x220}, 0},
		"not answered yet":              {flow{src: pod, peer: other, tcp: true}, 0},
		"UDP":                           {flow{src: pod, peer: other, open: true}, 0},
		"of no pod":                     {flow{src: other, peer: other, tcp: true, open: true}, 0},
		"a pod to its node":             {flow{src: pod, peer: host, tcp: true, open: true}, 0},
		"the kubelet to a pod":          {flow{src: host, peer: pod, tcp: true, open: true}, 0},
		"of another that drains":        {flow{src: pod, peer: other, tcp: true, open: true, mark: 0xc00}, 0xc00},
		"of one that is gone":           {flow{src: pod, peer: other, tcp: true, open: true, mark: 0x400}, 0x800},
		"of one that is gone, and over": {flow{src: pod, peer: other, tcp: true, mark: 0x400}, 0},
	} {
		if got := w.mark(c.flow); got != c.want {
			t.Errorf("%s: %#x, want %#x", name, got, c.want)
		}
	}
}

// One Geneve device hears one ztunnel, one VXLAN device all of them.
func TestDrainDevices(t *testing.T) {
	c := HostConfig{ZtunnelIP: z(1).IP, TunnelPort: 6081}
	drains := []Drain{{z(2), 1}, {z(3), 3}}
	macs := map[string]geneve.MAC{DeviceInbound: {2, 1}, DeviceOutbound: {2, 2}, "istioin3": {2, 3}}
	var got []string
	for _, d := range drainDevices(hostDevices(c, 1460), drains, macs)[2:] {
		got = append(got, fmt.Sprintf("%s %d %s %s", d.Name, d.VNI, d.Remote, d.MAC))
	}
	want := []string{
		"istioin1 1000 10.4.4.102 02:01:00:00:00:00", "istioout1 1001 10.4.4.102 02:02:00:00:00:00",
		"istioin3 1000 10.4.4.103 02:03:00:00:00:00", "istioout3 1001 10.4.4.103 02:02:00:00:00:00",
	}
	if !slices.Equal(got, want) {
		t.Errorf("%q", got)
	}
	c.Tunnel = geneve.VXLAN
	if n := len(drainDevices(hostDevices(c, 1460), drains, macs)); n != 2 {
		t.Errorf("%d devices", n)
	}
}
