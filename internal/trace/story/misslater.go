// SPDX-License-Identifier: Apache-2.0

package story

import (
	"cmp"
	"fmt"
	"strings"

	"github.com/ambient22/ambient22/internal/trace/story/proxyview"
)

// missLater is about a packet that was captured: whether it went through the mesh
// from there on.
func (t *teller) missLater(first *connection) *Miss {
	m := &Miss{Captured: true}
	switch {
	case t.changedByNode(first):
		m.Sentence = "It was captured, but " + lower(t.natRemark(first))
		m.Stop, m.Remedy = t.natStop(), remedyRepair
		return m
	case t.s.Outcome.Unknown:
		m.Sentence = "It was captured. How it goes on from there, the dumps don't tell."
		m.Stop = t.matched(func(s *seenStep) bool { return s.sets(captureMark) })
		return m
	case t.broken() != nil:
		c := t.broken()
		m.Sentence = "It was captured, but does not get through. " + capital(c.broken)
		if c != first && first.proxy != nil && first.proxy.Up.Tunnel == nil {
			m.Sentence = t.untunnelled(first).Sentence + " Then: " + lower(c.broken)
		}
		m.Stop, m.Remedy = t.brokenStop(c), remedyFor(c)
		return m
	case first.proxy != nil && first.proxy.Up != nil && first.proxy.Up.Tunnel == nil:
		return t.untunnelled(first)
	}
	m.Sentence = "It was captured, and nothing kept it from its way."
	if len(t.s.Remarks) > 0 {
		m.Sentence = "It was captured and gets through, but not quite as it should: " + lower(t.s.Remarks[0])
		m.Remedy = remedyRepair
	}
	m.Stop = t.matched(func(s *seenStep) bool { return s.sets(captureMark) })
	return m
}

// natStop is where its destination was changed.
func (t *teller) natStop() string {
	return t.matched(func(s *seenStep) bool {
		return s.space.kind == hostSpace && s.Rule != nil && s.Matched && s.Table == "nat" && strings.HasPrefix(s.Rule.Target.String(), "-j DNAT")
	})
}

// broken is the first connection that never stands, or nil.
func (t *teller) broken() *connection {
	for _, c := range t.connections {
		if c.broken != "" {
			return c
		}
	}
	return nil
}

// brokenStop is where a broken connection ended: the last verdict of its legs, else
// their last stop.
func (t *teller) brokenStop(c *connection) string {
	if c.stop != "" {
		return c.stop
	}
	stop, verdict := "", ""
	prefix := fmt.Sprint(c.number)
	for _, l := range t.s.Legs {
		if l.ID != prefix && !strings.HasPrefix(l.ID, prefix+"-") {
			continue
		}
		for _, s := range l.Stops {
			stop = s.ID
			if s.Kind == "verdict" {
				verdict = s.ID
			}
		}
	}
	return cmp.Or(verdict, stop)
}

func remedyFor(c *connection) string {
	if c.proxy == nil || c.answerLost {
		return remedyRepair
	}
	switch c.proxy.End {
	case proxyview.Refused:
		return "A policy says so. If the caller should be let in, name its identity in an AuthorizationPolicy that allows."
	case proxyview.BadTLS:
		return "Look at the ztunnels' certificates: ambientctl doctor tells which are missing or have expired."
	case proxyview.NoHost:
		return "The service has no ready endpoint: look at its pods."
	case proxyview.BlackHole:
		return remedyByDesign
	case proxyview.NotModelled:
		return "The story can't go on here. Look at the ztunnel's own log."
	case "":
		return remedyRepair
	}
	return remedyServed
}

// untunnelled is a captured call that goes on plainly.
func (t *teller) untunnelled(first *connection) *Miss {
	m := &Miss{Captured: true, Stop: t.lastStop(first), Remedy: remedyServed}
	target := t.ends.dst
	switch first.proxy.Miss {
	case "source":
		m.Sentence = fmt.Sprintf("It was captured, but goes on without a tunnel: the ztunnel's listener has no chain for the source %s, so it does not know whose identity to use.", t.ends.src.Addr())
	case "destination":
		m.Sentence = fmt.Sprintf("It was captured, but goes on without a tunnel: the ztunnel knows neither a service nor a pod with the address %s.", target.Addr())
		m.Remedy = "If the target should be in the mesh: is its namespace labelled, has it a ClusterIP, and does the node controller see it? Otherwise that is how this data path is made."
	case "port":
		m.Sentence = fmt.Sprintf("It was captured, but goes on without a tunnel: %s has no port %d that the ztunnel knows.", t.ends.to.full(), target.Port())
		m.Remedy = "Call one of the service's TCP ports, or add this one to the service."
	default:
		m.Sentence = fmt.Sprintf("It was captured, but goes on without a tunnel: %s is not in the mesh.", first.proxy.Up.Addr)
		m.Remedy = remedyEnrol
	}
	return m
}
