// SPDX-License-Identifier: Apache-2.0

package live

import (
	"fmt"
	"slices"
	"strings"

	"github.com/ambient22/ambient22/internal/trace"
)

// Difference is a packet's way through one namespace where the dump says another
// thing than the kernel did.
type Difference struct {
	Space      string
	Packet     string
	What       string
	Dump, Live string
}

func (d Difference) String() string {
	return fmt.Sprintf("%s: %s: %s: the dump says %s, the kernel did %s", d.Space, d.Packet, d.What, d.Dump, d.Live)
}

// Differences are where the ways that were told differ from what the dumps say.
func (r *Recording) Differences() []Difference {
	var all []Difference
	for _, t := range r.told {
		for _, d := range compareWalks(&t.predicted, &t.seen, t.passage.knownBefore()) {
			d.Space, d.Packet = t.passage.Space, t.passage.First.String()
			all = append(all, d)
		}
	}
	return all
}

// Compared is how many ways of packets through namespaces were compared.
func (r *Recording) Compared() int { return len(r.told) }

// knownBefore reports whether connection tracking knew the packet's connection, though
// nobody had answered: then nat's rules are not asked again. A dump that was taken
// before that connection's first packet cannot know it.
func (p *Passage) knownBefore() bool {
	for i := range p.Items {
		if o := p.Items[i].Seen; o != nil && o.Tracked {
			return o.State == "NEW" && (p.Conn == nil || p.Conn.Kind != ConnNew)
		}
	}
	return false
}

// compareWalks names what two walks differ in: rules in their order with the marks,
// routing, translation, and the end. Without nat its rules are left out.
func compareWalks(dump, live *trace.Walk, withoutNAT bool) []Difference {
	var all []Difference
	differ := func(what string, a, b any) {
		x, y := fmt.Sprint(a), fmt.Sprint(b)
		if x != y {
			all = append(all, Difference{What: what, Dump: x, Live: y})
		}
	}
	a, b := matched(dump), matched(live)
	if withoutNAT {
		a, b = slices.DeleteFunc(a, isNAT), slices.DeleteFunc(b, isNAT)
	}
	for i := range max(len(a), len(b)) {
		differ("rule "+fmt.Sprint(i+1), entry(a, i), entry(b, i))
		if entry(a, i) != entry(b, i) {
			break // what follows is shifted
		}
	}
	a, b = routing(dump), routing(live)
	for i := range max(len(a), len(b)) {
		differ("routing decision "+fmt.Sprint(i+1), entry(a, i), entry(b, i))
	}
	differ("end", verdictNames[dump.Verdict], verdictNames[live.Verdict])
	differ("device", dump.Out, live.Out)
	differ("gateway", dump.Via, live.Via)
	differ("socket", dump.Socket, live.Socket)
	differ("source", dump.Packet.Src, live.Packet.Src)
	differ("destination", dump.Packet.Dst, live.Packet.Dst)
	differ("mark", fmt.Sprintf("%#x", dump.Packet.Mark), fmt.Sprintf("%#x", live.Packet.Mark))
	if tracked(dump) && tracked(live) {
		differ("connection's mark", fmt.Sprintf("%#x", dump.Connmark), fmt.Sprintf("%#x", live.Connmark))
		differ("connection's state", tracks(dump), tracks(live))
	}
	return all
}

var verdictNames = [...]string{"unknown", "sent", "delivered", "dropped", "rejected", "unroutable", "martian"}

// isNAT reports whether a line of matched is about the table nat.
func isNAT(line string) bool {
	_, rest, _ := strings.Cut(line, " ")
	return strings.HasPrefix(rest, "nat ")
}

func entry(list []string, i int) string {
	if i < len(list) {
		return list[i]
	}
	return "nothing"
}

// matched are the rules that matched, with the marks before and after.
func matched(w *trace.Walk) []string {
	var out []string
	for i := range w.Steps {
		st := &w.Steps[i]
		if st.Kind != trace.StepRule || !st.Matched {
			continue
		}
		line := "a rule that the dump does not have"
		if st.Rule != nil {
			line = uncounted(st.Rule.String())
		}
		text := fmt.Sprintf("%s %s %s, mark %#x → %#x", hookNames[st.Hook], st.Table, line, st.Mark, st.MarkAfter)
		if tracked(w) {
			text += fmt.Sprintf(", connmark %#x → %#x", st.Connmark, st.ConnmarkAfter)
		}
		out = append(out, text)
	}
	return out
}

// routing are the routing decisions: the ip rule, the table and the route.
func routing(w *trace.Walk) []string {
	var out []string
	priority := "no rule"
	for i := range w.Steps {
		switch st := &w.Steps[i]; {
		case st.Kind == trace.StepIPRule && st.Matched && st.IPRule != nil && st.IPRule.Action == "lookup":
			priority = fmt.Sprint("ip rule ", st.IPRule.Priority)
		case st.Kind == trace.StepRoute && st.Route != nil:
			out = append(out, fmt.Sprintf("%s, table %d, %s %s dev %s", priority, st.TableID, st.Route.Type, st.Route.Dst, st.Route.Dev))
		}
	}
	return out
}

func tracks(w *trace.Walk) []trace.TrackState {
	var out []trace.TrackState
	for i := range w.Steps {
		if w.Steps[i].Kind == trace.StepTrack {
			out = append(out, w.Steps[i].State)
		}
	}
	return out
}

func tracked(w *trace.Walk) bool {
	return slices.ContainsFunc(w.Steps, func(s trace.Step) bool { return s.Kind == trace.StepTrack })
}
