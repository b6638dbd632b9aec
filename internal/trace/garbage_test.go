// SPDX-License-Identifier: Apache-2.0

package trace

import (
	"math/rand/v2"
	"net/netip"
	"testing"

	"github.com/ambient22/ambient22/internal/dump"
	"github.com/ambient22/ambient22/internal/dump/iproute"
	"github.com/ambient22/ambient22/internal/dump/iptsave"
	"github.com/ambient22/ambient22/internal/dump/setsave"
)

// TestGarbage compiles dumps that nobody would write and follows packets through
// them: it must not panic, nor walk for ever.
func TestGarbage(t *testing.T) {
	for seed := range uint64(300) {
		d := rand.New(rand.NewPCG(seed, 22))
		ns := garbage(d)
		s, err := Compile(ns)
		if err != nil {
			t.Fatal(err)
		}
		c, w := NewConns(), &Walk{Record: true}
		for range 30 {
			p := Packet{
				Protocol: []uint8{0, 1, 6, 17, 47, 132}[d.IntN(6)], TCPFlags: uint8(d.Uint32()), In: word(d),
				Mark: d.Uint32N(4), ICMPType: uint8(d.IntN(20)),
				Src: netip.AddrPortFrom(anyAddr(d), uint16(d.Uint32())), Dst: netip.AddrPortFrom(anyAddr(d), uint16(d.Uint32())),
			}
			s.Receive(p, c, w)
			s.Send(p, c, w)
			for i := range w.Steps {
				if w.Steps[i].Why() == "" {
					t.Fatalf("seed %d: a step without a word: %+v", seed, w.Steps[i])
				}
			}
		}
	}
}

func word(d *rand.Rand) string {
	return []string{"", "lo", "a", "b", "FORWARD", "PREROUTING", "X", "Y", "gone", "a+"}[d.IntN(10)]
}

func anyAddr(d *rand.Rand) netip.Addr {
	switch d.IntN(8) {
	case 0:
		return netip.Addr{}
	case 1:
		return netip.IPv6Loopback()
	case 2:
		return addr(d.Uint32())
	}
	return addr(10<<24 | d.Uint32N(4)<<16 | d.Uint32N(4))
}

func anyPrefix(d *rand.Rand) netip.Prefix { return netip.PrefixFrom(anyAddr(d), d.IntN(40)-2) }

func garbage(d *rand.Rand) *dump.Netns {
	ns := &dump.Netns{Name: "garbage", Legacy: garbageSave(d)}
	if d.IntN(2) == 0 {
		ns.NFT = garbageSave(d)
	}
	types := []string{"", "unicast", "local", "broadcast", "throw", "blackhole", "odd"}
	for range d.IntN(12) {
		rt := &iproute.Route{Type: types[d.IntN(len(types))], Dst: anyPrefix(d), Table: 250 + d.Uint32N(6), Via: anyAddr(d), Dev: word(d), Src: anyAddr(d), Line: 1}
		for range d.IntN(3) {
			rt.Nexthops = append(rt.Nexthops, iproute.Nexthop{Via: anyAddr(d), Dev: word(d)})
		}
		ns.Routes = append(ns.Routes, rt)
	}
	for i := range d.IntN(8) {
		ns.Rules = append(ns.Rules, &iproute.Rule{
			Priority: uint32(i), From: anyPrefix(d), To: anyPrefix(d), IIF: word(d), Not: d.IntN(3) == 0,
			Action: []string{"lookup", "goto", "nop", "", "lookup"}[d.IntN(5)], Table: 250 + d.Uint32N(6), Goto: d.Uint32N(8), SuppressPrefix: d.IntN(3) - 1,
		})
	}
	for range d.IntN(4) {
		ns.Links = append(ns.Links, &iproute.Link{Name: word(d), Flags: []string{"UP", "LOOPBACK"}[:d.IntN(3)], Addrs: []iproute.Addr{{Prefix: anyPrefix(d), Peer: anyPrefix(d)}}})
	}
	for _, typ := range []string{"hash:ip", "list:set", "hash:ip,port", "hash:net,net", "nonsense"} {
		ns.Sets = append(ns.Sets, &setsave.Set{Name: word(d), Type: typ, Entries: []setsave.Entry{{Elem: "10.0.0.1"}, {Elem: "X"}, {Elem: "10.0.0.1,tcp:80"}}[:d.IntN(3)]})
	}
	return ns
}

func garbageSave(d *rand.Rand) *iptsave.Save {
	save := &iptsave.Save{}
	for range d.IntN(5) {
		table := &iptsave.Table{Name: []string{"mangle", "nat", "filter", "raw", ""}[d.IntN(5)]}
		for range 4 {
			c := &iptsave.Chain{Name: word(d), Policy: []string{"", "ACCEPT", "DROP"}[d.IntN(3)]}
			for range d.IntN(5) {
				c.Rules = append(c.Rules, &iptsave.Rule{Chain: c.Name, Matches: garbageMatches(d), Target: garbageTarget(d)})
			}
			table.Chains = append(table.Chains, c)
		}
		save.Tables = append(save.Tables, table)
	}
	return save
}

func garbageMatches(d *rand.Rand) []iptsave.Match {
	all := []iptsave.Match{
		iptsave.Source{Prefix: anyPrefix(d)}, iptsave.Destination{Addr: anyAddr(d), Mask: anyAddr(d)}, iptsave.Set{Name: word(d), Directions: []string{"src"}},
		iptsave.Statistic{Mode: "nth"}, iptsave.Statistic{Mode: "random", Probability: "x"}, iptsave.Statistic{Mode: "nth", Every: 2},
		iptsave.Owner{UID: "x-", Rest: nil}, iptsave.Socket{}, iptsave.AddrType{Source: "ODD"}, iptsave.AddrType{Dest: "LOCAL", LimitIn: true},
		iptsave.IPRange{SourceLow: anyAddr(d)}, iptsave.PhysDev{}, iptsave.State{}, iptsave.State{States: []string{"NEW"}, Not: true}, iptsave.ICMP{},
		iptsave.Opaque{Module: "rpfilter", Words: []string{"--invert"}}, iptsave.Opaque{}, iptsave.InInterface{Name: "+"}, iptsave.Limit{}, iptsave.Multiport{},
	}
	var list []iptsave.Match
	for range d.IntN(3) {
		list = append(list, all[d.IntN(len(all))])
	}
	return list
}

func garbageTarget(d *rand.Rand) iptsave.Target {
	all := []iptsave.Target{
		nil, iptsave.Verdict{Name: "ACCEPT"}, iptsave.Verdict{Name: "RETURN"}, iptsave.Verdict{Name: "QUEUE"}, iptsave.Jump{Chain: word(d)},
		iptsave.Jump{Chain: word(d), Goto: true}, iptsave.SetMark{MarkOp: iptsave.MarkOp{Value: 1, Mask: 3}}, iptsave.SaveMark{NFMask: 3, CTMask: 3},
		iptsave.TPROXY{IP: anyAddr(d)}, iptsave.NAT{Kind: "DNAT", Low: anyAddr(d), High: anyAddr(d)}, iptsave.NAT{Kind: "NETMAP", To: "x"}, iptsave.NAT{Kind: "MASQUERADE"},
		iptsave.NAT{Kind: "REDIRECT", LowPort: 9}, iptsave.OpaqueTarget{Name: "ODD"}, iptsave.Pass{}, iptsave.CT{NoTrack: true}, iptsave.Log{Kind: "LOG"},
	}
	return all[d.IntN(len(all))]
}
