// SPDX-License-Identifier: Apache-2.0

package faults

import (
	"fmt"
	"runtime"
	"slices"
	"strings"

	"golang.org/x/sync/errgroup"

	"github.com/ambient22/ambient22/internal/dump"
	"github.com/ambient22/ambient22/internal/nodediff"
	"github.com/ambient22/ambient22/internal/trace/story"
)

// Probe is a call that shows whether a fault matters.
type Probe struct {
	// Name is what the call is, for people: "sleep calls productpage's service".
	Name  string
	Query story.Query
	// From is the lab's host that calls, URL what it calls there, of the probes that
	// can be made in the lab; empty for others.
	From, URL string
}

// Probes are calls of the article's lab that between them pass every rule of node A,
// as the caller's node and as the called pod's.
func Probes() []Probe {
	tcp := func(name, from, to, host, url string) Probe {
		return Probe{Name: name, Query: story.Query{From: from, To: to, Protocol: "tcp"}, From: host, URL: url}
	}
	return []Probe{
		tcp("sleep calls the service productpage", "10.4.4.19", "10.8.14.226:9080", "sleep", "http://10.8.14.226:9080/"),
		tcp("a pod of node B calls sleep through a tunnel", "10.4.3.15", "10.4.4.19:80", "details", "http://10.4.4.19/"),
		tcp("sleep calls a pod outside the mesh", "10.4.4.19", "10.4.3.30:8080", "sleep", "http://10.4.3.30:8080/"),
		tcp("a pod outside the mesh calls sleep", "10.4.3.30", "10.4.4.19:80", "outside-b", "http://10.4.4.19/"),
		tcp("sleep calls httpbin on its own node", "10.4.4.19", "10.4.4.11:80", "sleep", "http://10.4.4.11/"),
		tcp("the node probes sleep", "10.4.4.1", "10.4.4.19:80", "node-a", "http://10.4.4.19/"),
		tcp("httpbin calls details", "10.4.4.11", "10.4.3.15:9080", "httpbin", "http://10.4.3.15:9080/"),
		tcp("notsleep calls details", "10.4.4.7", "10.4.3.15:9080", "notsleep", "http://10.4.3.15:9080/"),
		tcp("a pod outside the mesh calls httpbin", "10.4.3.30", "10.4.4.11:80", "outside-b", "http://10.4.4.11/"),
		tcp("a pod outside the mesh calls notsleep", "10.4.3.30", "10.4.4.7:80", "outside-b", "http://10.4.4.7/"),
		tcp("a pod outside the mesh on the same node calls sleep", "10.4.4.30", "10.4.4.19:80", "outside-a", "http://10.4.4.19/"),
		tcp("a pod outside the mesh calls the service details", "10.4.4.30", "10.8.9.83:9080", "outside-a", "http://10.8.9.83:9080/"),
		{Name: "sleep sends UDP to a pod outside the mesh", Query: story.Query{From: "10.4.4.19", To: "10.4.3.30:53", Protocol: "udp"}},
		{Name: "sleep calls its own node", Query: story.Query{From: "10.4.4.19", To: "10.4.4.1:10250", Protocol: "tcp"}},
		{Name: "the node sends UDP to sleep", Query: story.Query{From: "10.4.4.1", To: "10.4.4.19:53", Protocol: "udp"}},
	}
}

// Consequence is what becomes of a call.
type Consequence struct {
	Probe   Probe
	Outcome story.Outcome
	Miss    string // the first reason why it was not captured; empty where it was
	// Way are the routes, devices and sockets of the call and its answers; Marks are
	// the steps that leave another mark behind.
	Way, Marks []string
}

// Judge says what becomes of each probe on these nodes.
func Judge(nodes []*dump.Node, probes []Probe) ([]Consequence, error) {
	mesh, err := story.New(nodes)
	if err != nil {
		return nil, fmt.Errorf("following the probes: %w", err)
	}
	var out []Consequence
	for _, p := range probes {
		q := p.Query
		q.ExplainMiss, q.Answer = true, true
		s, err := mesh.Trace(q)
		if err != nil {
			return nil, fmt.Errorf("following %q: %w", p.Name, err)
		}
		c := Consequence{Probe: p, Outcome: s.Outcome}
		if s.Miss != nil && !s.Miss.Captured {
			c.Miss = s.Miss.Sentence
		}
		c.follow(s)
		out = append(out, c)
	}
	return out, nil
}

// follow keeps where the packets went.
func (c *Consequence) follow(s *story.Story) {
	for _, leg := range s.Legs {
		for _, stop := range leg.Stops {
			if !stop.Matched {
				continue
			}
			switch stop.Kind {
			case "iprule", "route", "device", "nat", "tproxy", "socket", "tunnel", "filterchain", "verdict":
				c.Way = append(c.Way, stop.Place.Node+"|"+where(stop.Place.Space)+": "+stop.Text)
			}
			if stop.Mark != stop.MarkAfter || stop.Connmark != stop.ConnmarkAfter {
				c.Marks = append(c.Marks, stop.Place.Node+" "+stop.Place.Space+": "+stop.MarkAfter+" "+stop.ConnmarkAfter)
			}
		}
	}
}

// where words the kind of a namespace.
func where(space string) string {
	switch space {
	case "host":
		return "on the node"
	case "ztunnel":
		return "in the ztunnel's pod"
	case "pod":
		return "in the pod"
	}
	return "between the nodes"
}

// Effect is how much a fault matters to a call.
type Effect uint8

// The effects, the gravest first.
const (
	OtherEnd  Effect = iota // the call ends otherwise
	OtherWay                // it takes another way to the same end
	OtherMark               // its packets or its connection are marked otherwise
	NoEffect                // no packet of it meets the fault
)

// Compare says what a fault does to one call.
func Compare(healthy, ill Consequence) Effect {
	switch {
	case healthy.Outcome != ill.Outcome:
		return OtherEnd
	case !slices.Equal(healthy.Way, ill.Way):
		return OtherWay
	case !slices.Equal(healthy.Marks, ill.Marks):
		return OtherMark
	}
	return NoEffect
}

// Gravest is the probe that shows a fault best, and what it shows.
func Gravest(healthy, ill []Consequence) (Consequence, Effect) {
	var worst Consequence
	effect := NoEffect
	for i := range ill {
		if e := Compare(healthy[i], ill[i]); e < effect {
			worst, effect = ill[i], e
		}
	}
	return worst, effect
}

// Detour is the first step of a call that is not as on a healthy node.
func Detour(healthy, ill Consequence) string {
	for i, step := range ill.Way {
		if i >= len(healthy.Way) || healthy.Way[i] != step {
			_, text, _ := strings.Cut(step, "|")
			return text
		}
	}
	return ""
}

// Case is one fault with what is said of it.
type Case struct {
	Fault
	// Findings are the differences that diff names.
	Findings []nodediff.Finding
	// Shown is the probe that shows the fault best, Effect what it shows, and Detour
	// where it first goes another way.
	Shown  Consequence
	Effect Effect
	Detour string
}

// Cases are all faults of a node with their findings and consequences. nodes are the
// healthy ones; at is which of them the archive is of.
func Cases(a *dump.Archive, nodes []*dump.Node, at int) ([]Case, error) {
	all, err := All(a)
	if err != nil {
		return nil, err
	}
	healthy, err := Judge(nodes, Probes())
	if err != nil {
		return nil, err
	}
	out := make([]Case, len(all))
	var group errgroup.Group
	group.SetLimit(runtime.GOMAXPROCS(0))
	for i, f := range all {
		group.Go(func() error {
			c, err := caseOf(f, a, nodes, at, healthy)
			if err != nil {
				return fmt.Errorf("%s: %w", f.ID, err)
			}
			out[i] = c
			return nil
		})
	}
	return out, group.Wait()
}

func caseOf(f Fault, a *dump.Archive, nodes []*dump.Node, at int, healthy []Consequence) (Case, error) {
	n, err := f.Apply(a).Parse()
	if err != nil {
		return Case{}, err
	}
	c := Case{Fault: f}
	report, err := nodediff.Plan(n, nodediff.Options{})
	if err != nil {
		return Case{}, err
	}
	for _, found := range report.Findings {
		if found.Kind.Differs() {
			c.Findings = append(c.Findings, found)
		}
	}
	ill := append([]*dump.Node(nil), nodes...)
	ill[at] = n
	judged, err := Judge(ill, Probes())
	if err != nil {
		return Case{}, err
	}
	c.Shown, c.Effect = Gravest(healthy, judged)
	for i := range judged {
		if c.Effect == OtherWay && judged[i].Probe.Name == c.Shown.Probe.Name {
			c.Detour = Detour(healthy[i], judged[i])
		}
	}
	return c, nil
}
