// SPDX-License-Identifier: Apache-2.0

package trace

import (
	"net/netip"
	"testing"

	"github.com/ambient22/ambient22/internal/dump/conntrack"
)

// TestTCPStates follows flags in one direction and the other: what conntrack makes
// of each segment.
func TestTCPStates(t *testing.T) {
	out := tcp("10.1.0.5:1000", "10.2.0.5:80").via("a")
	back := out.answer("b", 0)
	for name, list := range map[string][]struct {
		p     Packet
		flags uint8
		want  string
	}{
		"a connection's life": {
			{out, flagSYN, "NEW"}, {out, flagSYN, "NEW"}, {back, flagSYN | flagACK, "ESTABLISHED"}, {out, flagACK, "ESTABLISHED"},
			{out, flagFIN | flagACK, "ESTABLISHED"}, {back, flagFIN | flagACK, "ESTABLISHED"}, {out, flagACK, "ESTABLISHED"}, {out, flagSYN, "NEW"},
		},
		"picked up in the middle":       {{out, flagACK, "NEW"}, {back, flagACK, "ESTABLISHED"}},
		"an answer to nothing":          {{out, flagSYN | flagACK, "INVALID"}},
		"a reset of nothing":            {{out, flagRST, "INVALID"}},
		"an end of nothing":             {{out, flagFIN | flagACK, "INVALID"}},
		"no flags":                      {{out, 0, "INVALID"}},
		"flags that exclude each other": {{out, flagSYN | flagFIN, "INVALID"}},
		"an ACK before the answer":      {{out, flagSYN, "NEW"}, {out, flagACK, "INVALID"}},
		"refused":                       {{out, flagSYN, "NEW"}, {back, flagRST | flagACK, "ESTABLISHED"}, {out, flagSYN, "NEW"}},
	} {
		t.Run(name, func(t *testing.T) {
			s, c := router().space(t), NewConns()
			for _, x := range list {
				receive(s, x.p.flags(x.flags), c).want(t, "verdict=sent state="+x.want)
			}
		})
	}
}

func TestLooseTCP(t *testing.T) {
	s := router().with("", "net.netfilter.nf_conntrack_tcp_loose=0").space(t)
	receive(s, tcp("10.1.0.5:1000", "10.2.0.5:80").via("a").flags(flagACK), NewConns()).want(t, "state=INVALID")
}

func ping(from, to string, typ uint8) Packet {
	return Packet{Protocol: protoICMP, Src: netip.MustParseAddrPort(from), Dst: netip.AddrPortFrom(netip.MustParseAddr(to), 0), ICMPType: typ}
}

func TestICMP(t *testing.T) {
	r := router()
	r.legacy = withRules("nat", "-A POSTROUTING -o b -j MASQUERADE\n")
	s, c := r.space(t), NewConns()
	receive(s, ping("10.1.0.5:77", "10.2.0.5", 8).via("a"), c).want(t, "verdict=sent src=10.2.0.1:77 state=NEW")
	receive(s, ping("10.2.0.5:77", "10.2.0.1", 0).via("b"), c).want(t, "verdict=sent out=a state=ESTABLISHED")
	receive(s, ping("10.2.0.5:78", "10.2.0.1", 0).via("b"), c).want(t, "verdict=delivered state=INVALID")
	receive(s, ping("10.2.0.5:78", "10.2.0.1", 3).via("b"), c).want(t, "state=INVALID doubts=1")
}

// TestConns is the table between packets: what is kept, what is not, and what a
// dump begins with.
func TestConns(t *testing.T) {
	r := router()
	r.legacy = withRules("mangle", "-A FORWARD -p tcp -m tcp --dport 81 -j DROP\n-A FORWARD -j CONNMARK --set-xmark 0x9/0xffffffff\n")
	s, c := r.space(t), NewConns()
	p, dropped := tcp("10.1.0.5:1000", "10.2.0.5:80").via("a"), tcp("10.1.0.5:1000", "10.2.0.5:81").via("a")
	receive(s, dropped, c).want(t, "verdict=dropped")
	if c.Len() != 0 {
		t.Error("a connection whose first packet was dropped is kept")
	}
	receive(s, p, c).want(t, "verdict=sent connmark=0x9")
	other := c.Clone()
	receive(s, p.answer("b", flagSYN|flagACK), c).want(t, "state=ESTABLISHED connmark=0x9")
	f, ok := c.Flow(p)
	if !ok || !f.Replied || f.IsReply || f.Mark != 9 || f.State != "SYN_RECV" || f.Original.Dst != p.Dst || f.Reply.Dst != p.Src {
		t.Errorf("%+v", f)
	}
	if f, _ := c.Flow(p.answer("b", 0)); !f.IsReply {
		t.Error("the answer is no reply")
	}
	if f, _ := other.Flow(p); f.Replied {
		t.Error("the clone is not on its own")
	}
	if _, ok := c.Flow(dropped); ok || c.Len() != 1 {
		t.Error("there is more than there should be")
	}
	seeded := NewConns(&conntrack.Conn{
		Protocol: protoTCP, State: "ESTABLISHED", Mark: 5,
		Original: conntrack.Tuple{Src: p.Src, Dst: netip.MustParseAddrPort("10.9.9.9:80")},
		Reply:    conntrack.Tuple{Src: p.Dst, Dst: p.Src},
	})
	toService := tcp("10.1.0.5:1000", "10.9.9.9:80").via("a").flags(flagACK)
	receive(router().space(t), toService, seeded).want(t, "verdict=sent dst=10.2.0.5:80 connmark=0x5 state=ESTABLISHED")
	receive(router().space(t), p.answer("b", flagACK), seeded).want(t, "verdict=sent out=a src=10.9.9.9:80")
}

// TestAllocations holds the promise that a walk reuses its memory.
func TestAllocations(t *testing.T) {
	s := nodeA().space(t)
	p := tcp("10.4.4.19:40000", "10.8.14.226:9080").via("veth19")
	w := &Walk{Record: true}
	if n := testing.AllocsPerRun(100, func() { s.Receive(p, nil, w) }); n > 0 {
		t.Errorf("%v allocations for each packet", n)
	}
}

// TestWhy reads a walk as people do.
func TestWhy(t *testing.T) {
	s := nodeA().space(t)
	w := receive(s, tcp("10.4.4.99:40000", "10.4.4.19:9080").via("veth99"), nil)
	said := map[string]bool{}
	for i := range w.Steps {
		said[w.Steps[i].Why()] = true
	}
	for _, want := range []string{
		"source 10.4.4.99 is not in set ztunnel-pods-ips",
		"mark 0x0 & 0x100 is not 0x100",
		"came in by veth99, not istioin",
		"connection's mark 0x0 & 0x220 is not 0x220",
		"protocol tcp is not udp",
		"every packet: goes to ztunnel-PREROUTING",
		"looks into table 100",
		"handed to istioin towards 192.168.126.2",
	} {
		if !said[want] {
			t.Errorf("nobody said %q\n%s", want, w.story())
		}
	}
}

// TestTPROXYForwarded loses its way: a socket is found, but no route leads here.
func TestTPROXYForwarded(t *testing.T) {
	r := router()
	r.legacy = withRules("mangle", "-A PREROUTING -p tcp -j TPROXY --on-port 15001 --on-ip 127.0.0.1 --tproxy-mark 0x400/0xfff\n")
	listener := Socket{Protocol: protoTCP, Local: addrPort(127<<24|1, 15001), Transparent: true}
	p := tcp("10.1.0.5:1000", "10.2.0.5:80").via("a")
	receive(r.space(t, Sockets(listener)), p, nil).want(t, "verdict=dropped mark=0x400")
	r.rules = "0:\tfrom all lookup local\n10:\tfrom all fwmark 0x400/0xfff lookup 100\n32766:\tfrom all lookup main\n"
	r.routes += "local default dev lo table 100 scope host\n"
	s, c := r.space(t, Sockets(listener)), NewConns()
	receive(s, p, c).want(t, "verdict=delivered socket=127.0.0.1:15001")
	c.AddSocket(Socket{Protocol: protoTCP, Local: p.Dst, Remote: p.Src, Transparent: true})
	receive(s, p.flags(flagACK), c).want(t, "verdict=delivered socket=10.2.0.5:80")
}

// TestConnOptions asks the second packet, an answer, of a connection whose
// destination was changed from 10.9.9.9:80 to 10.2.0.5:8080.
func TestConnOptions(t *testing.T) {
	for options, want := range map[string]string{
		"--ctdir REPLY": "dropped", "--ctdir ORIGINAL": "sent", "--ctorigdst 10.9.9.9": "dropped", "--ctorigdst 10.9.0.0/16": "dropped",
		"! --ctorigdst 10.9.9.9": "sent", "--ctorigdstport 80": "dropped", "--ctorigdstport 81:90": "sent", "--ctreplsrc 10.2.0.5": "dropped",
		"--ctreplsrcport 8080": "dropped", "--ctrepldst 10.1.0.5 --ctorigsrc 10.1.0.6": "sent", "--ctproto 6": "dropped", "--ctproto 17": "sent",
		"--ctstatus SEEN_REPLY": "dropped", "--ctstatus EXPECTED": "sent", "--ctstate DNAT --ctdir REPLY": "dropped", "--ctstatus ASSURED": "unknown",
		"--ctexpire 5:10": "unknown",
	} {
		t.Run(options, func(t *testing.T) {
			r := router()
			r.legacy = withRules("nat", "-A PREROUTING -d 10.9.9.9/32 -p tcp -j DNAT --to-destination 10.2.0.5:8080\n") +
				withRules("mangle", "-A FORWARD -i b -m conntrack "+options+" -j DROP\n")
			s, c := r.space(t), NewConns()
			receive(s, tcp("10.1.0.5:1000", "10.9.9.9:80").via("a"), c).want(t, "verdict=sent")
			receive(s, tcp("10.2.0.5:8080", "10.1.0.5:1000").via("b").flags(flagSYN|flagACK), c).want(t, "verdict="+want)
		})
	}
}

// TestReset is a REJECT that sends a RST: the connection is closed by it.
func TestReset(t *testing.T) {
	r := router()
	r.legacy = withRules("filter", "-A FORWARD -i b -p tcp -j REJECT --reject-with tcp-reset\n")
	s, c := r.space(t), NewConns()
	syn := tcp("10.1.0.5:1000", "10.2.0.5:80").via("a")
	receive(s, syn, c).want(t, "verdict=sent")
	receive(s, syn.answer("b", flagSYN|flagACK), c).want(t, "verdict=rejected")
	if f, _ := c.Flow(syn); f.State != "CLOSE" {
		t.Error(f.State)
	}
}

// TestOnePort has SNAT to a single port: a second connection to the same place is
// dropped at the last moment, unless the first one has ended.
func TestOnePort(t *testing.T) {
	r := router()
	r.legacy = withRules("nat", "-A POSTROUTING -p tcp -j SNAT --to-source 10.2.0.1:5000\n")
	s, c := r.space(t), NewConns()
	receive(s, tcp("10.1.0.5:1000", "10.2.0.5:80").via("a"), c).want(t, "verdict=sent src=10.2.0.1:5000 doubts=0")
	receive(s, tcp("10.1.0.6:1000", "10.2.0.5:80").via("a"), c).want(t, "verdict=dropped")
	back := tcp("10.2.0.5:80", "10.2.0.1:5000").via("b")
	receive(s, back.flags(flagSYN|flagACK), c).want(t, "verdict=sent dst=10.1.0.5:1000")
	receive(s, back.flags(flagRST|flagACK), c).want(t, "verdict=sent dst=10.1.0.5:1000")
	receive(s, tcp("10.1.0.6:1000", "10.2.0.5:80").via("a"), c).want(t, "verdict=sent src=10.2.0.1:5000 doubts=1")
	receive(s, back.flags(flagSYN|flagACK), c).want(t, "verdict=sent dst=10.1.0.6:1000")
	if c.Len() != 1 {
		t.Error(c.Len(), "connections")
	}
}
