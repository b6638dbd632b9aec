// SPDX-License-Identifier: Apache-2.0

package prove

import (
	"fmt"
	"net/netip"

	"golang.org/x/sys/unix"

	"github.com/ambient22/ambient22/internal/dump/iptsave"
	"github.com/ambient22/ambient22/internal/trace"
)

// outcome is what became of a packet as far as it was seen.
type outcome struct {
	verdicts []trace.Verdict // those that fit what was seen
	packet   trace.Packet    // addresses and mark at the end
	out      string
	via      netip.Addr
	socket   uint32 // the socket's mark, where a marked one was given the packet
}

// arrived tells that it went to its end.
func (o outcome) arrived() bool {
	return len(o.verdicts) == 1 && (o.verdicts[0] == trace.Sent || o.verdicts[0] == trace.Delivered)
}

// readOutcome reads the observation. Sightings of other packets than the probe are none
// of its business, apart from those that the kernel made.
func readOutcome(p Probe, o observation) outcome {
	var last *sighting
	var socket uint32
	for i, s := range o.sightings {
		if s.serial != p.Serial || s.place == atKernelOwn {
			continue
		}
		if s.place == atSocket {
			socket = s.mark
			continue
		}
		last = &o.sightings[i]
	}
	if last == nil {
		return outcome{verdicts: lost(o, nil)}
	}
	end := trace.Packet{Protocol: last.protocol, Src: last.src, Dst: last.dst, Mark: last.mark}
	for _, f := range o.frames {
		if f.serial == p.Serial {
			end.Src, end.Dst = f.src, f.dst
			return outcome{verdicts: []trace.Verdict{trace.Sent}, packet: end, out: f.dev, via: f.via}
		}
	}
	if last.place == atInLast && o.counted.delivered == 0 {
		return outcome{verdicts: []trace.Verdict{trace.Dropped}}
	}
	if last.place == atInLast {
		if !o.connected {
			// What confirms a new connection comes behind the last look, and drops one
			// whose answers another connection has.
			return outcome{verdicts: []trace.Verdict{trace.Delivered, trace.Dropped}, packet: end, socket: socket}
		}
		return outcome{verdicts: []trace.Verdict{trace.Delivered}, packet: end, socket: socket}
	}
	return outcome{verdicts: lost(o, last), packet: end}
}

// lost says which verdicts may stand for a packet that was not seen any more.
func lost(o observation, last *sighting) []trace.Verdict {
	if o.connecting && last != nil && last.place == atOutFirst {
		// TCP does not tell what became of a SYN: it would try again.
		return []trace.Verdict{trace.Dropped, trace.Rejected, trace.Unroutable}
	}
	switch o.refusal {
	case 0:
	case unix.EPERM:
		return []trace.Verdict{trace.Dropped, trace.Rejected}
	case unix.ENETUNREACH: // also by an ip rule that says unreachable
		return []trace.Verdict{trace.Unroutable, trace.Rejected}
	case unix.EHOSTUNREACH, unix.EACCES:
		return []trace.Verdict{trace.Rejected, trace.Unroutable}
	default:
		return []trace.Verdict{trace.Dropped, trace.Martian, trace.Unroutable}
	}
	if last == nil || last.place != atPreLast {
		// Between a hook's first rule and its last one, or behind the last but without
		// a frame: a rule took it.
		return []trace.Verdict{trace.Dropped, trace.Rejected}
	}
	switch { // routing took it
	case o.counted.reversePath > 0:
		return []trace.Verdict{trace.Martian}
	case o.counted.noRoute > 0:
		return []trace.Verdict{trace.Unroutable}
	}
	switch o.route.refusal {
	case unix.EINVAL:
		return []trace.Verdict{trace.Dropped, trace.Martian}
	case unix.ENETUNREACH:
		return []trace.Verdict{trace.Unroutable, trace.Rejected}
	case unix.EACCES:
		return []trace.Verdict{trace.Rejected}
	case unix.EHOSTUNREACH: // also where nothing is forwarded
		return []trace.Verdict{trace.Rejected, trace.Unroutable, trace.Dropped}
	}
	return []trace.Verdict{trace.Dropped} // for example because TPROXY gave it to a socket
}

// compare says where the engine's walk and what the kernel did differ.
func compare(w *trace.Walk, got outcome) []string {
	var list []string
	differ := func(what string, engine, kernel any) {
		if engine != kernel {
			list = append(list, fmt.Sprintf("%s: the engine says %v, the kernel did %v", what, engine, kernel))
		}
	}
	fits := false
	for _, v := range got.verdicts {
		fits = fits || v == w.Verdict
	}
	// An ip rule "unreachable" is no route to the kernel.
	fits = fits || w.Verdict == trace.Rejected && got.verdicts[0] == trace.Unroutable && unreachableRule(w)
	if !fits {
		return []string{fmt.Sprintf("verdict: the engine says %v, the kernel did %v", verdictName(w.Verdict), verdictNames(got.verdicts))}
	}
	if w.Verdict != trace.Sent && w.Verdict != trace.Delivered {
		return nil
	}
	differ("source", w.Packet.Src, got.packet.Src)
	differ("destination", w.Packet.Dst, got.packet.Dst)
	differ("mark", fmt.Sprintf("%#x", w.Packet.Mark), fmt.Sprintf("%#x", got.packet.Mark))
	if w.Verdict == trace.Sent {
		differ("device", w.Out, got.out)
		via := w.Via
		if !via.IsValid() {
			via = w.Packet.Dst.Addr()
		}
		if got.via.IsValid() { // not broadcast
			differ("gateway", via, got.via)
		}
	}
	if w.Socket.IsValid() {
		differ("socket", uint32(w.Socket.Port()), got.socket)
	}
	return list
}

// compareRoute says where the two take another route for a packet that came in.
// Without ip rules of somebody's own the kernel keeps tables local and main in one.
func compareRoute(w *trace.Walk, o observation) []string {
	if !o.route.asked || o.route.refusal != 0 {
		return nil
	}
	for i := len(w.Steps) - 1; i >= 0; i-- {
		s := w.Steps[i]
		if s.Kind != trace.StepRoute || s.Hook != trace.Prerouting || !s.Matched || s.Route == nil {
			continue
		}
		merged := s.TableID == tableLocal && o.route.table == tableMain
		if (s.TableID == o.route.table || merged) && s.Route.Dst == o.route.dst {
			return nil
		}
		return []string{fmt.Sprintf("route: the engine takes %s of table %d, the kernel %s of table %d", s.Route.Dst, s.TableID, o.route.dst, o.route.table)}
	}
	return nil
}

// unreachableRule tells that the last ip rule looked at says so.
func unreachableRule(w *trace.Walk) bool {
	for i := len(w.Steps) - 1; i >= 0; i-- {
		if w.Steps[i].Kind == trace.StepIPRule {
			return w.Steps[i].Matched && w.Steps[i].IPRule.Action == "unreachable"
		}
	}
	return false
}

// compareConn says where the two remember a connection differently.
func compareConn(conns *trace.Conns, p Probe, o observation) []string {
	flow, ok := conns.Flow(p.Packet)
	switch {
	case !ok && !o.connected:
		return nil
	case ok != o.connected:
		return []string{fmt.Sprintf("connection: the engine remembers one: %v, the kernel: %v", ok, o.connected)}
	}
	engine := fmt.Sprintf("%v, answers %v, connmark %#x", flow.Original, flow.Reply, flow.Mark)
	kernel := fmt.Sprintf("%v, answers %v, connmark %#x", o.conn.original, o.conn.reply, o.conn.mark)
	if engine == kernel {
		return nil
	}
	return []string{fmt.Sprintf("connection: the engine remembers %s, the kernel %s", engine, kernel)}
}

// compareCounters says which rules counted other numbers of packets than the
// engine let them match. The kernel's are read from a second saving of the rules.
func compareCounters(rules, now *iptsave.Save, counted map[*iptsave.Rule]uint64) []string {
	var list []string
	eachRule(rules, now, func(table string, r *iptsave.Rule, kernel *iptsave.Counters) {
		switch {
		case kernel == nil:
			list = append(list, fmt.Sprintf("counters: none in the kernel: %s: %s", table, r))
		case kernel.Packets > counted[r]:
			list = append(list, fmt.Sprintf("counters: more in the kernel: %d, in the engine %d: %s: %s", kernel.Packets, counted[r], table, r))
		case kernel.Packets < counted[r]:
			list = append(list, fmt.Sprintf("counters: more in the engine: %d, in the kernel %d: %s: %s", counted[r], kernel.Packets, table, r))
		}
	})
	return list
}

// eachRule calls f with each rule and the counters that it has in a later saving;
// nil where that has no such rule.
func eachRule(rules, now *iptsave.Save, f func(table string, r *iptsave.Rule, counters *iptsave.Counters)) {
	for _, t := range rules.Tables {
		later := now.Table(t.Name)
		for _, c := range t.Chains {
			for i, r := range c.Rules {
				var counters *iptsave.Counters
				if later != nil {
					if chain := later.Chain(c.Name); chain != nil && i < len(chain.Rules) {
						counters = chain.Rules[i].Counters
					}
				}
				f(t.Name, r, counters)
			}
		}
	}
}

func verdictNames(list []trace.Verdict) []string {
	var names []string
	for _, v := range list {
		names = append(names, verdictName(v))
	}
	return names
}

func verdictName(v trace.Verdict) string {
	switch v {
	case trace.Sent:
		return "sent"
	case trace.Delivered:
		return "delivered"
	case trace.Dropped:
		return "dropped"
	case trace.Rejected:
		return "rejected"
	case trace.Unroutable:
		return "unroutable"
	case trace.Martian:
		return "martian"
	}
	return "unknown"
}
