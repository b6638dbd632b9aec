// SPDX-License-Identifier: Apache-2.0

package live

import (
	"fmt"
	"strings"

	"github.com/ambient22/ambient22/internal/trace/story"
)

// Offline tells the same call from the dumps alone.
func (r *Recording) Offline() (*story.Story, error) {
	q := r.query
	q.Kernel = nil
	return r.mesh.Trace(q)
}

// CompareStories names what a story of the dumps and one of the kernel differ in: how
// they end, and leg by leg the rules that matched, the ip rules, routes, devices and
// tunnels, and what the ztunnels do, each with its marks. Ports that a client chose
// don't count. Legs of connections that were there before the call, which have no
// first packet, are left out.
func CompareStories(dump, live *story.Story) []Difference {
	var all []Difference
	differ := func(space, packet, what string, a, b any) {
		if x, y := fmt.Sprint(a), fmt.Sprint(b); x != y {
			all = append(all, Difference{Space: space, Packet: packet, What: what, Dump: x, Live: y})
		}
	}
	outcome := func(o story.Outcome) string {
		return fmt.Sprintf("captured %v, tunnelled %v, delivered %v", o.Captured, o.Tunnelled, o.Delivered)
	}
	differ("story", "", "outcome", outcome(dump.Outcome), outcome(live.Outcome))
	differ("story", "", "number of legs", len(dump.Legs), len(live.Legs))
	for i := range min(len(dump.Legs), len(live.Legs)) {
		a, b := &dump.Legs[i], &live.Legs[i]
		differ("leg "+a.ID, b.Packet, "title", a.Title, b.Title)
		if strings.HasPrefix(a.Packet, "TCP SYN ") && !strings.HasPrefix(b.Packet, "TCP SYN ") || strings.HasPrefix(a.Packet, "TCP SYN-ACK") && b.Answer && pooledBefore(live, i) {
			continue
		}
		x, y := essence(a), essence(b)
		for n := range max(len(x), len(y)) {
			if entry(x, n) != entry(y, n) {
				differ("leg "+a.ID, b.Packet, fmt.Sprintf("step %d", n+1), entry(x, n), entry(y, n))
				break // what follows is shifted
			}
		}
	}
	return all
}

// pooledBefore reports whether the leg that an answer belongs to began in the middle
// of a connection.
func pooledBefore(s *story.Story, answer int) bool {
	if answer == 0 {
		return false
	}
	p := s.Legs[answer-1].Packet
	return strings.HasPrefix(p, "TCP ") && !strings.HasPrefix(p, "TCP SYN ")
}

// essence is what happens on a leg: each step's place, line and marks.
func essence(l *story.Leg) []string {
	var out []string
	for i := range l.Stops {
		s := &l.Stops[i]
		switch s.Kind {
		case "hook", "policy", "filter", "conntrack":
			continue // who is asked, not what happens
		}
		if !s.Matched {
			continue
		}
		place := strings.Join([]string{s.Place.Node, s.Place.Space, s.Place.Hook, s.Place.Table, s.Place.Chain}, " ")
		text := fmt.Sprintf("%s: %s %s, mark %s → %s", place, s.Kind, uncounted(s.Line), s.Mark, after(s.Mark, s.MarkAfter))
		if s.Connmark+s.ConnmarkAfter != "" {
			text += fmt.Sprintf(", connmark %s → %s", s.Connmark, after(s.Connmark, s.ConnmarkAfter))
		}
		out = append(out, text)
	}
	return out
}

func after(before, then string) string {
	if then == "" {
		return before
	}
	return then
}

// uncounted is a rule's line without its counters.
func uncounted(line string) string {
	if _, rest, ok := strings.Cut(line, "] "); ok && strings.HasPrefix(line, "[") {
		return rest
	}
	return line
}
