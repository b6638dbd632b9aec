// SPDX-License-Identifier: Apache-2.0

package story

import (
	"cmp"
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"github.com/ambient22/ambient22/internal/dump/iptsave"
	"github.com/ambient22/ambient22/internal/dump/setsave"
	"github.com/ambient22/ambient22/internal/trace"
)

// What to do about it, where several reasons share the answer.
const (
	remedyRepair   = "ambientctl diff shows everything that differs from what should be there. A running ambient-node puts back by itself what is on the node, and its log says why if it does not; what is in the ztunnel's pod comes back when the pod is restarted."
	remedyForward  = "Turn forwarding on (sysctl -w net.ipv4.ip_forward=1) and see who turned it off: without it the node reaches none of its pods. ambient-node does not set it."
	remedyForeign  = "Find out who put it there. The rules of this data path have to come first; ambient-node puts its jump back to the first place, and says so in its log."
	remedyRoom     = "Another program uses this place. ambient-node preflight names what stands in the way."
	remedyServed   = "Look at what the node controller serves: ambientctl xds render shows what the ztunnel should have, ambientctl xds diff compares it with its config_dump."
	remedyEnrol    = "Label the pod's namespace istio.io/dataplane-mode=ambient; a label that asks for a sidecar, or ambient-type=none, keeps a pod out."
	remedyFilter   = "rp_filter has to be 0 on this device and on all: the way there and the way back differ on purpose. ambient-node sets it; see who sets it anew (/etc/sysctl.d, the CNI)."
	remedyByDesign = "That is how this data path is made; there is nothing to repair."
)

// explainMiss says why the packet was not captured: the first place where its way
// parts from a captured packet's.
func (t *teller) explainMiss() *Miss {
	first := t.connections[0]
	for _, ask := range []func(*connection) *Miss{
		t.missByNature, t.missNoRules, t.missByRules, t.missByRouting, t.missInTunnel,
	} {
		if t.s.Outcome.Captured || first.arrival.walk == trace.Unknown && first.arrival.fate == unclear {
			break
		}
		if m := ask(first); m != nil {
			return m
		}
	}
	if t.s.Outcome.Unknown && !t.s.Outcome.Captured {
		if m := t.missSet(first); m != nil {
			return m
		}
		return &Miss{Unknown: true, Sentence: "Whether it is captured the dumps don't tell. " + capital(cmp.Or(first.broken, first.arrival.reason)), Stop: t.lastStop(first), Remedy: "Take a whole dump of the node (ambientctl dump)."}
	}
	if !t.s.Outcome.Captured {
		return &Miss{Sentence: "It was not captured. " + capital(cmp.Or(first.broken, first.arrival.reason, "The story shows its way.")), Stop: t.lastStop(first), Remedy: remedyRepair}
	}
	return t.missLater(first)
}

// missSet is a walk that ended for want of the set that the capturing rule asks for.
func (t *teller) missSet(c *connection) *Miss {
	host := c.from.space.node.host
	if host == nil || c.arrival.space != host || c.arrival.walk != trace.Unknown {
		return nil
	}
	rule := captureRule(host)
	if rule == nil {
		return nil
	}
	name := conditionsOf(rule).set
	if findSet(host, name) != nil {
		return nil
	}
	return &Miss{Unknown: true, Sentence: fmt.Sprintf("Whether it is captured the dumps don't tell: the rule that captures asks for the set %s, and there is no such set in the dump.", name), Stop: t.lastStop(c), Remedy: "Take a dump as root where ipset is installed (ambientctl dump says what it lacks)."}
}

// missByNature is what is never captured.
func (t *teller) missByNature(c *connection) *Miss {
	from := t.ends.from
	switch {
	case t.ends.protocol == protocolUDP:
		return &Miss{Sentence: "It is UDP, and only TCP is captured.", Stop: t.matched(func(s *seenStep) bool { return s.sets(connSkipMark) }), Remedy: remedyByDesign}
	case c.from.space.kind == hostSpace && c.from.in == "":
		text := "It comes from the node itself, and only what pods send is captured."
		if from.kind == podEntity {
			text = fmt.Sprintf("%s uses its node's network: its packets come from the node itself, with an address (%s) that is no pod's.", from.full(), from.ip)
		}
		return &Miss{Sentence: text, Stop: t.matched(func(s *seenStep) bool { return s.sets(connSkipMark) }), Remedy: remedyByDesign}
	case from.ip == c.from.space.node.ztunnelIP():
		return &Miss{Sentence: "It comes from the ztunnel itself, which is never captured.", Stop: t.matched(func(s *seenStep) bool { return s.sets(connSkipMark) }), Remedy: remedyByDesign}
	case c.arrival.space.kind == podSpace && c.arrival.space == c.from.space && c.arrival.fate != lost:
		return &Miss{Sentence: cmp.Or(c.arrival.reason, "It does not leave its pod."), Stop: t.lastStop(c), Remedy: "Pods with a sidecar, or of a mesh that redirects within the pod, take no part in this data path. Remove the one or the other."}
	case c.from.in != "" && c.from.pod == "":
		return &Miss{Sentence: fmt.Sprintf("It comes in from outside %s. Packets are captured on the node of the pod that sends them.", c.from.space.node.label()), Remedy: "If a pod or node of the cluster sends it, give the dump of that node, too. What comes from elsewhere is never captured on its way out."}
	}
	return nil
}

// missNoRules is a node without this data path.
func (t *teller) missNoRules(c *connection) *Miss {
	host := c.from.space.node.host
	if host == nil {
		return nil
	}
	for r := range host.rules() {
		if strings.HasPrefix(r.Chain, "ztunnel-") || jumpsToOurs(r) {
			return nil
		}
	}
	return &Miss{Sentence: fmt.Sprintf("%s has none of this data path's rules: no chain ztunnel-PREROUTING is there, nor a jump to it.", capital(host.node.label())),
		Remedy: "Without a Ready ztunnel on the node nothing is installed: look at the ztunnel's pod, and at ambient-node's log. A mesh of another generation has other rules (ambientctl diff recognises them)."}
}

func jumpsToOurs(r *iptsave.Rule) bool {
	j, ok := r.Target.(iptsave.Jump)
	return ok && strings.HasPrefix(j.Chain, "ztunnel-")
}

// sets tells that a matched rule gives the mark.
func (s *seenStep) sets(mark uint32) bool {
	if s.Kind != trace.StepRule || !s.Matched || s.Rule == nil {
		return false
	}
	op, ok := s.Rule.Target.(iptsave.SetMark)
	return ok && op.Value == mark
}

// matched is the first stop of a step that f holds of; "" without one.
func (t *teller) matched(f func(*seenStep) bool) string {
	if i := slices.IndexFunc(t.seen, func(s seenStep) bool { return f(&s) }); i >= 0 {
		return t.seen[i].stop
	}
	return ""
}

// lastStop is the last stop of a connection's way.
func (t *teller) lastStop(c *connection) string {
	for i := range t.s.Legs {
		if l := &t.s.Legs[i]; l.ID == fmt.Sprint(c.number) && len(l.Stops) > 0 {
			return l.Stops[len(l.Stops)-1].ID
		}
	}
	return ""
}

// captureRule is the rule that marks what pods send, as it should be or nearly so.
func captureRule(host *space) *iptsave.Rule {
	for r := range host.rulesOf("mangle") {
		if r.Chain != "ztunnel-PREROUTING" {
			continue
		}
		c := conditionsOf(r)
		_, marks := r.Target.(iptsave.SetMark)
		if c.set != "" && marks {
			return r
		}
	}
	return nil
}

// inMangle are the steps on the host in mangle's PREROUTING, before encapsulation.
func (t *teller) inMangle(host *space) []seenStep {
	var list []seenStep
	for _, s := range t.seen {
		if s.space == host && s.Table == "mangle" && s.Hook == trace.Prerouting && s.Packet.Protocol != protocolUDP {
			list = append(list, s)
		}
	}
	return list
}

// missByRules is a packet that did not get mark 0x100, or lost it.
func (t *teller) missByRules(c *connection) *Miss {
	host := c.from.space.node.host
	if host == nil {
		return nil
	}
	steps := t.inMangle(host)
	rule := captureRule(host)
	at := slices.IndexFunc(steps, func(s seenStep) bool { return s.Kind == trace.StepRule && s.Rule == rule })
	switch {
	case rule != nil && at >= 0 && !steps[at].Matched:
		return t.missRule(host, rule, &steps[at])
	case at >= 0:
		return t.missMark(rule, steps, at)
	}
	// The rule was not reached, or isn't there: what ended the way to it?
	entered := slices.ContainsFunc(steps, func(s seenStep) bool { return s.Chain == "ztunnel-PREROUTING" && s.Kind == trace.StepRule })
	if !entered {
		return t.missJump(host, steps)
	}
	if m := t.missEarlier(steps); m != nil {
		return m
	}
	if rule == nil {
		return &Miss{Sentence: "The rule that captures is not in chain ztunnel-PREROUTING of table mangle: nothing gives mark 0x100 to what the set's pods send.", Stop: lastOf(steps), Remedy: remedyRepair}
	}
	return nil
}

func lastOf(steps []seenStep) string {
	if len(steps) == 0 {
		return ""
	}
	return steps[len(steps)-1].stop
}

// missRule is the capturing rule, asked and not matching.
func (t *teller) missRule(host *space, rule *iptsave.Rule, s *seenStep) *Miss {
	var failed iptsave.Match
	if s.Failed >= 0 && s.Failed < len(rule.Matches) {
		failed = rule.Matches[s.Failed]
	}
	m := &Miss{Stop: s.stop, Remedy: remedyRepair}
	set, isSet := failed.(iptsave.Set)
	if !isSet {
		m.Sentence = fmt.Sprintf("The rule that captures is not as it should be, and does not match this packet: %s", sentence(cmp.Or(s.Why(), rule.String())))
		return m
	}
	there := findSet(host, set.Name)
	if there == nil {
		m.Sentence = fmt.Sprintf("The rule that captures asks for the set %s, and there is no such set in the dump.", set.Name)
		return m
	}
	m.Sentence = fmt.Sprintf("Its source %s is not in the set %s, which has the addresses of the node's captured pods: %s.", t.ends.src.Addr(), set.Name, members(there))
	m.Remedy = remedyEnrol
	from := t.ends.from
	switch {
	case !slices.Equal(set.Directions, []string{"src"}):
		m.Sentence = fmt.Sprintf("The rule that captures asks whether the packet's %s is in the set, and should ask for its source.", strings.Join(set.Directions, ","))
		m.Remedy = remedyRepair
	case from.known && from.captured:
		m.Sentence += fmt.Sprintf(" The node controller does count %s as captured.", from.full())
		m.Remedy = remedyRepair
	case from.known && from.reason != "":
		m.Sentence += fmt.Sprintf(" The node controller leaves %s out: %s.", from.full(), strings.TrimSuffix(from.reason, "."))
	}
	return m
}

func findSet(s *space, name string) *setsave.Set {
	for _, set := range s.ns.Sets {
		if set.Name == name {
			return set
		}
	}
	return nil
}

// maxMembers is how many of a set's entries a sentence names.
const maxMembers = 10

func members(s *setsave.Set) string {
	if len(s.Entries) == 0 {
		return "it is empty"
	}
	var list []string
	for _, e := range s.Entries {
		list = append(list, e.Elem)
	}
	slices.SortFunc(list, func(a, b string) int {
		x, errX := netip.ParseAddr(a)
		y, errY := netip.ParseAddr(b)
		if errX == nil && errY == nil {
			return x.Compare(y)
		}
		return strings.Compare(a, b)
	})
	if n := len(list); n > maxMembers {
		list = append(list[:maxMembers], fmt.Sprintf("and %d more", n-maxMembers))
	}
	return strings.Join(list, ", ")
}

// missMark is the capturing rule, matching, whose mark is another or is lost.
func (t *teller) missMark(rule *iptsave.Rule, steps []seenStep, at int) *Miss {
	if steps[at].MarkAfter&captureMark == 0 {
		return &Miss{Sentence: fmt.Sprintf("The rule that captures gives mark %#x, and ip rule 101 looks for 0x100/0x100.", steps[at].MarkAfter), Stop: steps[at].stop, Remedy: remedyRepair}
	}
	for _, s := range steps[at+1:] {
		if s.Kind == trace.StepRule && s.Matched && s.MarkAfter&captureMark == 0 && s.Mark&captureMark != 0 {
			return &Miss{Sentence: fmt.Sprintf("It is marked 0x100, and then a rule of chain %s takes that bit away: %s.", s.Chain, s.Rule), Stop: s.stop, Remedy: remedyForeign}
		}
	}
	return nil
}

// missJump is a packet that never came into our chain.
func (t *teller) missJump(host *space, steps []seenStep) *Miss {
	for _, s := range steps {
		if s.Kind != trace.StepRule || !s.Matched || s.Rule == nil {
			continue
		}
		if v, ok := s.Rule.Target.(iptsave.Verdict); ok && v.Name != "RETURN" {
			return &Miss{Sentence: fmt.Sprintf("Before the jump to ztunnel-PREROUTING, a rule of chain %s decides: %s. No further rule is asked.", s.Chain, s.Rule), Stop: s.stop, Remedy: remedyForeign}
		}
	}
	jump := false
	for r := range host.rulesOf("mangle") {
		if j, ok := r.Target.(iptsave.Jump); ok && r.Chain == "PREROUTING" && j.Chain == "ztunnel-PREROUTING" {
			jump = true
		}
	}
	text := "No rule of PREROUTING in table mangle jumps to ztunnel-PREROUTING, so no packet is ever marked there."
	if jump {
		text = "The jump from PREROUTING to ztunnel-PREROUTING in table mangle is not for this packet, or comes too late."
	}
	return &Miss{Sentence: text, Stop: lastOf(steps), Remedy: remedyRepair}
}

// missEarlier is a packet that left our chain before the capturing rule. What
// counts is the rule that gave the mark that a later one returned for.
func (t *teller) missEarlier(steps []seenStep) *Miss {
	for i, s := range steps {
		if s.Kind != trace.StepRule || !s.Matched || s.Chain != "ztunnel-PREROUTING" || s.Rule == nil {
			continue
		}
		c := conditionsOf(s.Rule)
		switch {
		case s.sets(returnMark):
			return &Miss{Sentence: "Its connection has the conntrack mark 0x210, which says that the ztunnel opened it with a pod's address: it is taken for an answer to the ztunnel.", Stop: s.stop, Remedy: remedyForeign}
		case c.hasConnmark && c.connmark == connSkipMark && s.MarkAfter&skipMark != 0:
			return &Miss{Sentence: "Its connection has the conntrack mark 0x220: it was passed by when it began, and so is everything that belongs to it. A connection opened before its pod was captured stays as it was.", Stop: s.stop, Remedy: "Open a new connection: restart the client, or give another --from-port."}
		case isReturn(s.Rule) && s.Mark&(skipMark|returnMark) != 0:
			return t.missForeignMark(steps[:i], &s)
		case s.MarkAfter&skipMark != 0 && s.Mark&skipMark == 0:
			return t.missSkipped(&s, c)
		case isReturn(s.Rule):
			return &Miss{Sentence: fmt.Sprintf("A rule of chain ztunnel-PREROUTING sends it back before the one that captures: %s.", s.Rule), Stop: s.stop, Remedy: remedyRepair}
		}
		if v, ok := s.Rule.Target.(iptsave.Verdict); ok {
			return &Miss{Sentence: fmt.Sprintf("A rule of chain ztunnel-PREROUTING that does not belong there decides before the one that captures (%s): %s.", v.Name, s.Rule), Stop: s.stop, Remedy: remedyForeign}
		}
	}
	return nil
}

// missForeignMark is a packet that came into our chain with a mark of ours.
func (t *teller) missForeignMark(before []seenStep, s *seenStep) *Miss {
	for i := len(before) - 1; i >= 0; i-- {
		b := before[i]
		if b.Kind == trace.StepRule && b.Matched && b.MarkAfter != b.Mark && b.MarkAfter&(skipMark|returnMark) != 0 {
			return &Miss{Sentence: fmt.Sprintf("A rule of chain %s gives it mark %#x, in which this data path reads \"pass by\" (0x200) or \"answer\" (0x40): %s.", b.Chain, b.MarkAfter, b.Rule), Stop: b.stop, Remedy: remedyForeign}
		}
	}
	return &Miss{Sentence: fmt.Sprintf("It comes to the node with mark %#x already, so our chain passes it by.", s.Mark), Stop: s.stop, Remedy: remedyForeign}
}

// missSkipped is a packet that one of our own rules, or a changed one, skips.
func (t *teller) missSkipped(s *seenStep, c conditions) *Miss {
	m := &Miss{Stop: s.stop, Remedy: remedyRepair}
	switch {
	case c.in != "" && (strings.HasPrefix(c.in, inDevice) || strings.HasPrefix(c.in, outDevice)):
		m.Sentence = "It came out of the tunnel, so the ztunnel has had it already."
		m.Remedy = remedyByDesign
	case c.in != "":
		m.Sentence = fmt.Sprintf("The rules take device %s, which it came in by, for the ztunnel's veth, so it counts as the ztunnel's own.", c.in)
	default:
		m.Sentence = fmt.Sprintf("A rule gives it the skip mark before it could be captured: %s.", s.Rule)
	}
	return m
}
