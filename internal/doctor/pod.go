// SPDX-License-Identifier: Apache-2.0

package doctor

import (
	"cmp"
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"github.com/ambient22/ambient22/internal/dump"
	"github.com/ambient22/ambient22/internal/dump/setsave"
	"github.com/ambient22/ambient22/internal/trace/story"
	"github.com/ambient22/ambient22/internal/trace/story/proxyview"
	"github.com/ambient22/ambient22/noderoute"
)

// Whom a pod is made to talk with, where no pod of another node is known: an address
// of RFC 5737 that no node has.
const (
	farAway  = "192.0.2.1"
	farPort  = 40000
	somePort = 80
)

// The ports of the ztunnel's listeners.
const (
	outboundPort = 15001
	inboundPort  = 15006 // plain connections
	hbonePort    = 15008
)

// pod says how one pod of the node stands to the mesh.
func (x *exam) pod(p dump.Pod) Pod {
	out := Pod{Namespace: p.Namespace, Name: p.Name, Capture: Captured}
	if p.IP.IsValid() {
		out.IP = p.IP.String()
	}
	if !p.Enrolled && !p.Captured {
		x.outside(p, &out)
		return out
	}
	if !p.Captured {
		out.Capture = Missed
		out.Reasons = append(out.Reasons, Reason{
			Text:   "The mesh wants it captured, and the node controller has not done so: " + sentence(p.Reason),
			Remedy: "See the checks of the node above, then ambient-node's log.",
		})
	}
	if !p.IP.IsValid() {
		return out
	}
	x.way(p, &out)
	if x.proxy != nil || x.Live != nil {
		x.served(p, &out)
	}
	return out
}

// outside is a pod that takes no part; it is astray where the node captures it.
func (x *exam) outside(p dump.Pod, out *Pod) {
	out.Capture = Outside
	out.Reasons = []Reason{{Text: sentence(p.Reason)}}
	if x.set == nil || p.HostNetwork || !p.IP.IsValid() {
		return
	}
	for _, e := range x.set.Entries {
		if e.Elem == out.IP {
			out.Capture = Astray
			out.Reasons = append([]Reason{{
				Text:   fmt.Sprintf("Its address %s is in the set %s, so what it sends is captured, and it should not be.", p.IP, setName),
				Remedy: "A running ambient-node takes it out by itself; its log says why if it does not.",
				Line:   "add " + setName + " " + e.Elem, File: dump.FileName(dump.HostSpace, dump.KindSets), LineNo: e.Line,
			}}, out.Reasons...)
		}
	}
}

// peer is an address beside a pod of another node's, so that the way between it and a
// pod of this one is the way of any connection from node to node; nobody has it, so
// that the other node's dump is not asked for.
func (x *exam) peer() netip.Addr {
	known := map[netip.Addr]bool{}
	var remote netip.Addr
	if w := x.Node.Workloads; w != nil {
		for _, p := range w.Pods {
			known[p.IP] = true
			if p.Node != cmp.Or(w.Node, x.Node.Name) && p.IP.Is4() && !p.HostNetwork {
				remote = p.IP
			}
		}
	}
	for _, p := range x.names.Pods {
		known[p.IP] = true
		if !p.Local && !remote.IsValid() && p.IP.Is4() {
			remote = p.IP
		}
	}
	if remote.IsValid() {
		octets := remote.As4()
		for flip := byte(1); flip < 64; flip++ {
			near := octets
			near[3] ^= flip
			if ip := netip.AddrFrom4(near); !known[ip] && near[3] > 1 && near[3] < 255 {
				return ip
			}
		}
	}
	return netip.MustParseAddr(farAway)
}

// way follows a packet of the pod, and one to it, through the node.
func (x *exam) way(p dump.Pod, out *Pod) {
	peer := x.other
	sent, err := x.mesh.Trace(story.Query{From: p.IP.String(), To: netip.AddrPortFrom(peer, somePort).String(), ExplainMiss: true})
	switch {
	case err != nil:
		x.unclear(out, fmt.Sprintf("What becomes of a packet that it sends is not known: %v.", err))
	case x.notInSet(p):
		x.miss(out, Reason{
			Text:   fmt.Sprintf("What it sends is not captured. Its address %s is not in the set %s.", p.IP, setName),
			Remedy: "A running ambient-node puts it there by itself; its log says why if it does not.",
		})
	case !sent.Outcome.Captured:
		x.missed(out, sent)
	case lost(sent) && !x.ended(outboundPort, p.IP, peer):
		x.cut(out, Reason{Text: "What it sends is captured, and does not get through. " + why(sent), Remedy: remedyDiff})
	}
	got, err := x.mesh.Trace(story.Query{From: peer.String(), To: netip.AddrPortFrom(p.IP, somePort).String()})
	switch {
	case err != nil:
		x.unclear(out, fmt.Sprintf("What becomes of a packet that is sent to it is not known: %v.", err))
	case !x.throughZtunnel(got):
		x.passedBy(out, got)
	case lost(got) && !x.ended(inboundPort, peer, p.IP):
		x.cut(out, Reason{Text: "What is sent to it is led to the ztunnel, and does not get through. " + why(got), Remedy: remedyDiff})
	}
}

const remedyDiff = "ambientctl diff shows what differs from what should be there. A running ambient-node puts back by itself what is on the node; what is in the ztunnel's pod comes back when the pod is restarted."

// why is how a story ends, without its first sentence, which is about whom it
// is told of.
func why(s *story.Story) string {
	if _, rest, ok := strings.Cut(s.Outcome.Sentence, ". "); ok {
		return rest
	}
	return s.Outcome.Sentence
}

// lost tells that a connection ends on its way, as far as the dump shows the way.
func lost(s *story.Story) bool { return !s.Outcome.Delivered && !s.Outcome.Unknown }

// ended tells that the ztunnel itself ends the connection: a policy that refuses it
// is no fault of the node.
func (x *exam) ended(listener uint16, from, to netip.Addr) bool {
	if x.proxy == nil {
		return false
	}
	r := x.proxy.Accept(proxyview.Conn{
		Socket: loopback(listener), Remote: netip.AddrPortFrom(from, farPort), Local: netip.AddrPortFrom(to, somePort),
	})
	return r.End != ""
}

// notInSet tells that the set is known and lacks the pod.
func (x *exam) notInSet(p dump.Pod) bool {
	return x.set != nil && !slices.ContainsFunc(x.set.Entries, func(e setsave.Entry) bool { return e.Elem == p.IP.String() })
}

// miss and cut note a reason, and what it means for the pod.
func (x *exam) miss(out *Pod, r Reason) {
	out.Capture = Missed
	out.Reasons = append(out.Reasons, r)
}

func (x *exam) cut(out *Pod, r Reason) {
	if out.Capture == Captured {
		out.Capture = Cut
	}
	out.Reasons = append(out.Reasons, r)
}

func (x *exam) unclear(out *Pod, text string) {
	if out.Capture == Captured {
		out.Capture = Unclear
	}
	out.Reasons = append(out.Reasons, Reason{Text: text})
}

// missed notes why a packet of the pod was not captured.
func (x *exam) missed(out *Pod, s *story.Story) {
	r := Reason{Text: "What it sends is not captured. " + s.Outcome.Sentence}
	if s.Miss != nil {
		r.Text, r.Remedy = "What it sends is not captured. "+s.Miss.Sentence, s.Miss.Remedy
		r.at(stopOf(s, s.Miss.Stop))
	} else if s.Outcome.Unknown {
		x.unclear(out, r.Text)
		return
	}
	x.miss(out, r)
}

func (r *Reason) at(stop *story.Stop) {
	if stop != nil {
		r.Line, r.File, r.LineNo = stop.Line, stop.File, stop.LineNo
	}
}

func stopOf(s *story.Story, id string) *story.Stop {
	for i := range s.Legs {
		for j := range s.Legs[i].Stops {
			if stop := &s.Legs[i].Stops[j]; id != "" && stop.ID == id {
				return stop
			}
		}
	}
	return nil
}

// throughZtunnel tells that the packet went into the ztunnel's namespace, or, where
// that is not in the dump, into the tunnel that leads there.
func (x *exam) throughZtunnel(s *story.Story) bool {
	if len(s.Legs) == 0 {
		return false
	}
	return slices.ContainsFunc(s.Legs[0].Stops, func(stop story.Stop) bool {
		return stop.Place.Space == dump.ZtunnelSpace ||
			x.Node.Ztunnel == nil && stop.Kind == "route" && stop.Matched && strings.HasPrefix(stop.Place.Device, inDevice)
	})
}

// passedBy notes where what is sent to a pod gets past the ztunnel.
func (x *exam) passedBy(out *Pod, s *story.Story) {
	if s.Outcome.Unknown && !strings.Contains(lastOf(s).Kind, "device") {
		x.unclear(out, "What is sent to it: "+s.Outcome.Sentence)
		return
	}
	const remedy = "Table 100 should have a route to the pod via 192.168.126.2 dev istioin, and ip rule 103 should lead there. ambientctl diff shows which line differs; a running ambient-node puts it back by itself."
	r := Reason{Remedy: remedy}
	route := lastRoute(s)
	switch {
	case route != nil && strings.HasPrefix(route.Place.Device, inDevice):
		r.Text = "What is sent to it does not reach the ztunnel. " + why(s)
		r.Remedy = remedyDiff
	case route != nil:
		r.Text = "What is sent to it is not captured: the node takes a route that leads past the ztunnel."
		r.at(route)
	default:
		r.Text = "What is sent to it is not captured. " + why(s)
	}
	x.miss(out, r)
}

// inDevice is the device that leads to the ztunnel's inbound side; a second ztunnel
// on the node has one with a number behind it.
const inDevice = noderoute.DeviceInbound

// lastOf is the last stop of the first leg.
func lastOf(s *story.Story) story.Stop {
	if len(s.Legs) == 0 || len(s.Legs[0].Stops) == 0 {
		return story.Stop{}
	}
	return s.Legs[0].Stops[len(s.Legs[0].Stops)-1]
}

// lastRoute is the last route that the node took for the packet, or nil.
func lastRoute(s *story.Story) *story.Stop {
	if len(s.Legs) == 0 {
		return nil
	}
	stops := s.Legs[0].Stops
	for i := len(stops) - 1; i >= 0; i-- {
		if stops[i].Kind == "route" && stops[i].Matched && stops[i].Place.Space == dump.HostSpace {
			return &stops[i]
		}
	}
	return nil
}

// served asks whether the ztunnel can do anything with the pod's connections.
func (x *exam) served(p dump.Pod, out *Pod) {
	cut := func(text, remedy string) { x.cut(out, Reason{Text: text, Remedy: remedy}) }
	switch {
	case x.Node.Ztunnel == nil && x.Live != nil:
		cut("There is no ztunnel that could take its connections.", "")
		return
	case x.Live != nil && x.Live.CertsErr != nil:
		cut("It is captured, and the ztunnel does not answer: its connections end there.", "See the log of the ztunnel's pod.")
		return
	case x.proxy == nil:
		return
	}
	far := netip.AddrPortFrom(x.other, farPort)
	const served = "Look at what the node controller serves: ambientctl xds diff compares it with what the ztunnel has. A rejected update (NACK) keeps the ztunnel where it was."
	sends := x.proxy.Accept(proxyview.Conn{Socket: loopback(outboundPort), Remote: netip.AddrPortFrom(p.IP, farPort), Local: far})
	switch {
	case sends.End == proxyview.NoListener:
		cut("The ztunnel has no listener for what its pods send (port 15001).", served)
	case sends.Miss == "source":
		cut(fmt.Sprintf("The ztunnel has not been told of it: its listener %s has no entry for the source %s, so its connections go on without its identity.", sends.Listener, p.IP), served)
	}
	gets := x.proxy.Accept(proxyview.Conn{Socket: loopback(hbonePort), Remote: far, Local: netip.AddrPortFrom(p.IP, hbonePort), Hello: &proxyview.Hello{Identity: "spiffe://nobody"}})
	switch {
	case gets.End == proxyview.NoListener:
		cut("The ztunnel has no listener for tunnels to its pods (port 15008).", served)
	case gets.Miss == "destination" || gets.End == proxyview.NoChain:
		cut(fmt.Sprintf("The ztunnel has not been told of it: its listener %s has no chain for tunnels to %s.", gets.Listener, p.IP), served)
	case gets.End == proxyview.BadTLS && gets.Identity != "" && !strings.Contains(gets.Reason, "nobody"):
		cut("Tunnels to it fail. "+gets.Reason, "Look at the node controller's log: it issues the certificates, or asks for them.")
	}
	x.certified(gets.Identity, cut)
}

func loopback(port uint16) netip.AddrPort {
	return netip.AddrPortFrom(netip.AddrFrom4([4]byte{127, 0, 0, 1}), port)
}

// certified looks at the pod's own certificates.
func (x *exam) certified(identity string, cut func(text, remedy string)) {
	if x.Live == nil || identity == "" {
		return
	}
	for _, cert := range x.Live.Certs {
		if trouble := cert.trouble(x.Now); cert.Identity == identity && trouble != "" {
			cut(fmt.Sprintf("Its certificate (%s) %s.", identity, trouble), "Look at the node controller's log: it renews certificates well before they expire.")
			return
		}
	}
}

// sentence makes a reason one: a capital letter, a full stop.
func sentence(text string) string {
	if text == "" {
		return "no reason is given."
	}
	if !strings.HasSuffix(text, ".") {
		text += "."
	}
	return strings.ToUpper(text[:1]) + text[1:]
}
