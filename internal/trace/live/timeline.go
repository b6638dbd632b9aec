// SPDX-License-Identifier: Apache-2.0

package live

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/ambient22/ambient22/internal/trace/story"
)

// timeline is when the packets that the story tells of passed devices, what connection
// tracking noted of them, and what the ztunnels logged, in the order of time.
func (r *Recording) timeline() []story.Moment {
	var all []story.Moment
	for _, t := range r.told {
		g := t.passage
		moment := func(m story.Moment) {
			m.Node, m.Space = t.at.node, t.at.ns.Name
			all = append(all, m)
		}
		what := g.describe()
		if !g.Arrived.IsZero() {
			moment(story.Moment{At: g.Arrived, Text: what + " comes in by " + g.In})
		}
		if c := g.Conn; c != nil {
			moment(story.Moment{At: g.through(), Heard: true, Text: c.describe()})
		}
		if !g.Left.IsZero() {
			f := g.final()
			text := what
			if g.Inner == nil {
				text = f.String()
			}
			moment(story.Moment{At: g.Left, Text: text + " leaves by " + t.seen.Out})
		}
	}
	for node, lines := range r.logged {
		all = append(all, accessMoments(node, lines, r.clients())...)
	}
	slices.SortStableFunc(all, func(a, b story.Moment) int { return a.At.Compare(b.At) })
	return all
}

// through is when the packet was through the namespace, and connection tracking noted
// it: as near as the kernel's times tell.
func (p *Passage) through() time.Time {
	switch {
	case !p.Left.IsZero():
		return p.Left
	case !p.Arrived.IsZero():
		return p.Arrived
	}
	return p.connAt
}

// describe is the packet in one line, with what it carries.
func (p *Passage) describe() string {
	if p.Inner == nil {
		return p.First.String()
	}
	return fmt.Sprintf("a tunnel's packet %s → %s, network %d, with %s", p.First.Src, p.First.Dst, p.Inner.VNI, &p.Inner.Inner)
}

// describe is the event in one line.
func (c *ConnEvent) describe() string {
	var b strings.Builder
	fmt.Fprintf(&b, "connection tracking: %s %s", c.Kind, c.Original)
	if c.Reply != c.Original.Reverse() {
		fmt.Fprintf(&b, ", answers come as %s", c.Reply)
	}
	if c.Mark != 0 {
		fmt.Fprintf(&b, ", mark %#x", c.Mark)
	}
	return b.String()
}
