// SPDX-License-Identifier: Apache-2.0

package live

import (
	"fmt"
	"net/netip"
	"time"

	"github.com/ambient22/ambient22/internal/trace"
	"github.com/ambient22/ambient22/internal/trace/story"
)

// Recording is what the kernel did with the packets of one call. It is a
// story.Kernel: a story asks it packet by packet.
type Recording struct {
	mesh   *story.Mesh
	query  story.Query
	spaces []*recorded
	port   uint16 // of the tunnels
	// inner is the packet that went into a tunnel last: the next outer packet
	// carries it.
	inner Header
	// after is when the connection that is told began: the next one is later.
	after time.Time
	// pooled tells that the connection that is told was there before: its first
	// packet was not seen, others stand for it.
	pooled bool
	lossy  bool // the kernel had more to tell than was heard
	doubts []string
	told   []*told
	logged map[string][]string // what the ztunnels logged meanwhile, by node
}

// recorded is one namespace's part of a recording.
type recorded struct {
	teller
	node     string
	passages []*Passage
	claimed  map[*Passage]bool
}

// told is one packet's way through one namespace, as the dump says and as it was
// seen.
type told struct {
	at              *recorded
	passage         *Passage
	predicted, seen trace.Walk
}

// recording is what the session heard, put together.
func (s *session) recording(m *story.Mesh) *Recording {
	r := &Recording{mesh: m, query: s.o.Query, port: s.o.TunnelPort, doubts: s.doubts, lossy: s.lost || s.events > maxEvents, logged: map[string][]string{}}
	if s.events > maxEvents {
		r.doubts = append(r.doubts, fmt.Sprintf("The kernel told of more than %d things; the rest is left out.", maxEvents))
	}
	for _, l := range s.logs {
		lines, err := l.lines()
		if err != nil {
			r.doubts = append(r.doubts, err.Error())
		}
		r.logged[l.node] = lines
	}
	for _, t := range s.spaces {
		r.spaces = append(r.spaces, &recorded{
			teller:   teller{ns: t.ns, handles: t.handles, devices: t.watcher.devices, routes: kernelRoutes{t.space}},
			node:     t.node,
			passages: t.joiner.finish(),
			claimed:  map[*Passage]bool{},
		})
	}
	return r
}

// routesAsked is said of every story.
const routesAsked = "Ip rules and routes are what the kernel answered when it was asked with the packet's addresses, device and mark; rules, marks, connections and devices are what it did."

// Story tells the call, from what was seen.
func (r *Recording) Story() (*story.Story, error) {
	q := r.query
	q.Kernel = r
	s, err := r.mesh.Trace(q)
	if err != nil {
		return nil, err
	}
	s.Doubts = append(append(s.Doubts, r.doubts...), routesAsked)
	s.Timeline = r.timeline()
	return s, nil
}

func (r *Recording) at(w story.Where) *recorded {
	for _, s := range r.spaces {
		if s.node == w.Node && s.ns == w.Netns {
			return s
		}
	}
	return nil
}

// Begin is story.Kernel's.
func (r *Recording) Begin(w story.Where, p trace.Packet) trace.Packet {
	s := r.at(w)
	if s == nil {
		return p
	}
	r.pooled = false
	found := s.first(time.Time{}, func(g *Passage) bool {
		return begins(g, p) && sameEnds(g.First.Src, anyPort(p.Src)) && g.First.Dst == p.Dst
	})
	if found == nil && p.Protocol == protoTCP {
		found = r.otherEndpoint(s, p)
	}
	if found == nil {
		return p
	}
	r.after = found.Began
	p.Src, p.Dst, p.TCPFlags = found.First.Src, found.First.Dst, found.First.Flags
	return p
}

// skew is how much later than another one a namespace's events may be heard.
const skew = 50 * time.Millisecond

// begins reports whether a passage can be a connection's first.
func begins(g *Passage, p trace.Packet) bool {
	return g.First.Protocol == p.Protocol && (p.Protocol != protoTCP || g.First.Opens())
}

// otherEndpoint finds a connection that begins otherwise than the story expects: to
// another endpoint, or long before, so that only later packets of it are seen.
func (r *Recording) otherEndpoint(s *recorded, p trace.Packet) *Passage {
	pooled := s.first(r.after.Add(-skew), func(g *Passage) bool {
		return g.First.Protocol == protoTCP && g.First.Flags&flagSYN == 0 && g.First.Src.Addr() == p.Src.Addr() && g.First.Dst == p.Dst
	})
	if pooled != nil {
		r.pooled = true
		r.doubts = append(r.doubts, fmt.Sprintf("The connection %s was there already: the first packet seen of it stands for the one that opened it.", pooled.First.Tuple()))
		return pooled
	}
	other := s.first(r.after.Add(-skew), func(g *Passage) bool {
		return g.Sent() && g.First.Opens() && g.First.Src.Addr() == p.Src.Addr()
	})
	if other != nil {
		r.doubts = append(r.doubts, fmt.Sprintf("A connection to %s is expected, and the one that was seen goes to %s.", p.Dst, other.First.Dst))
	}
	return other
}

func (s *recorded) first(after time.Time, fits func(*Passage) bool) *Passage {
	for _, g := range s.passages {
		if !s.claimed[g] && !g.Began.Before(after) && fits(g) {
			return g
		}
	}
	return nil
}

// Walk is story.Kernel's.
func (r *Recording) Walk(w story.Where, p trace.Packet, predicted, seen *trace.Walk) story.Sight {
	s := r.at(w)
	if s == nil {
		return story.Unwatched
	}
	g := s.first(time.Time{}, func(g *Passage) bool { return r.is(g, p) })
	if g == nil {
		return r.missed(p)
	}
	s.tellAll(g, seen)
	if r.pooled {
		// Whether a listener or the connection's own socket takes it, nothing tells.
		seen.Socket = predicted.Socket
	}
	r.told = append(r.told, &told{at: s, passage: g, predicted: *predicted, seen: *seen})
	if seen.Verdict == trace.Sent && !r.tunnels(p) {
		r.inner = g.final()
	}
	return story.Seen
}

// missed is the word on a packet that was not seen. Only so many packets that open no
// connection are traced: that one of them was not, says nothing.
func (r *Recording) missed(p trace.Packet) story.Sight {
	opens := p.TCPFlags&flagSYN != 0
	if r.tunnels(p) {
		opens = r.inner.Flags&flagSYN != 0
	}
	if r.lossy || r.pooled || p.Protocol == protoTCP && !opens || r.tunnels(p) && r.inner.Protocol == protoTCP && !opens {
		return story.Unwatched
	}
	return story.Missed
}

func (r *Recording) tunnels(p trace.Packet) bool {
	return p.Protocol == protoUDP && p.Dst.Port() == r.port
}

// Tunnel is story.Kernel's.
func (r *Recording) Tunnel(w story.Where, p trace.Packet) trace.Packet {
	s := r.at(w)
	if s == nil || !r.tunnels(p) {
		return p
	}
	if g := s.first(time.Time{}, func(g *Passage) bool { return r.is(g, p) }); g != nil {
		p.Src = netip.AddrPortFrom(p.Src.Addr(), g.First.Src.Port())
	}
	return p
}

// is reports whether a passage is that of the packet.
func (r *Recording) is(g *Passage, p trace.Packet) bool {
	h := &g.First
	if g.In != p.In || h.Protocol != p.Protocol || h.Dst != p.Dst {
		return false
	}
	if r.tunnels(p) {
		return g.Inner != nil && g.Inner.Inner.key() == r.inner.key() && g.Inner.Inner.Tuple() == r.inner.Tuple()
	}
	const compared = flagSYN | flagACK | flagFIN | flagRST
	return h.Src == p.Src && (r.pooled || (h.Flags^p.TCPFlags)&compared == 0)
}

// tellAll tells a passage, and the way back in through lo of what is sent to the
// namespace itself.
func (s *recorded) tellAll(g *Passage, w *trace.Walk) {
	s.claimed[g] = true
	s.tell(g, w, false)
	if w.Verdict != trace.Sent || w.Out != loopback {
		return
	}
	final := g.final()
	again := s.first(g.Began, func(o *Passage) bool { return o.In == loopback && o.First.key() == final.key() })
	if again != nil {
		s.claimed[again] = true
		s.tell(again, w, true)
	}
}

const loopback = "lo"

// anyPort is the address with whatever port.
func anyPort(a netip.AddrPort) netip.AddrPort { return netip.AddrPortFrom(a.Addr(), 0) }
