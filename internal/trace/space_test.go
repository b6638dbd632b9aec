// SPDX-License-Identifier: Apache-2.0

package trace

import (
	"net/netip"
	"strings"
	"testing"

	"github.com/ambient22/ambient22/internal/dump"
	"github.com/ambient22/ambient22/internal/dump/iproute"
	"github.com/ambient22/ambient22/internal/dump/iptsave"
	"github.com/ambient22/ambient22/internal/dump/setsave"
)

// texts are what a namespace of a test looks like, as the tools print it.
type texts struct {
	legacy, nft, rules, routes, links, sets string
	sysctls                                 map[string]string
}

// netns parses texts; rules "" stands for the kernel's own three.
func (x texts) netns(t testing.TB) *dump.Netns {
	t.Helper()
	ns := &dump.Netns{Name: "test", Sysctls: x.sysctls}
	must := func(err error) {
		if err != nil {
			t.Helper()
			t.Fatal(err)
		}
	}
	var err error
	if x.legacy != "" {
		ns.Legacy, err = iptsave.Parse("legacy", x.legacy)
		must(err)
	}
	if x.nft != "" {
		ns.NFT, err = iptsave.Parse("nft", x.nft)
		must(err)
	}
	if x.rules != "" {
		ns.Rules, err = iproute.ParseRules("rules", x.rules)
		must(err)
	}
	ns.Routes, err = iproute.ParseRoutes("routes", x.routes, 0)
	must(err)
	ns.Links, err = iproute.ParseLinks("links", x.links)
	must(err)
	ns.Sets, err = setsave.Parse("sets", x.sets)
	must(err)
	return ns
}

func (x texts) space(t testing.TB, opts ...Option) *Space {
	t.Helper()
	s, err := Compile(x.netns(t), opts...)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// tcp is a SYN.
func tcp(from, to string) Packet {
	return Packet{Protocol: protoTCP, Src: netip.MustParseAddrPort(from), Dst: netip.MustParseAddrPort(to), TCPFlags: flagSYN, Length: 60}
}

func udp(from, to string) Packet {
	return Packet{Protocol: protoUDP, Src: netip.MustParseAddrPort(from), Dst: netip.MustParseAddrPort(to), Length: 60}
}

func (p Packet) via(dev string) Packet { p.In = dev; return p }

func (p Packet) flags(flags uint8) Packet { p.TCPFlags = flags; return p }

func (p Packet) marked(mark uint32) Packet { p.Mark = mark; return p }

// answer is a packet the other way.
func (p Packet) answer(dev string, flags uint8) Packet {
	p.Src, p.Dst, p.In, p.TCPFlags, p.Mark = p.Dst, p.Src, dev, flags, 0
	return p
}

// receive and send follow a packet with steps.
func receive(s *Space, p Packet, c *Conns) *Walk {
	w := &Walk{Record: true}
	s.Receive(p, c, w)
	return w
}

func send(s *Space, p Packet, c *Conns) *Walk {
	w := &Walk{Record: true}
	s.Send(p, c, w)
	return w
}

// want compares what a walk came to with a short text: verdict, out, via, packet,
// mark, connmark, socket, whichever are given as "key=value".
func (w *Walk) want(t *testing.T, text string) {
	t.Helper()
	got := w.facts()
	for word := range strings.FieldsSeq(text) {
		key, value, _ := strings.Cut(word, "=")
		if got[key] != value {
			t.Errorf("%s is %q, want %q\n%s", key, got[key], value, w.story())
			return
		}
	}
}
