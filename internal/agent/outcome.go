// SPDX-License-Identifier: Apache-2.0

package agent

import (
	"maps"
	"net/netip"

	"github.com/ambient22/ambient22/internal/mesh"
)

// doubt is how many attempts in a row have to fail until the captures of before
// count as lost. The first failure often is one that the next attempt mends: the
// route to a new ztunnel comes a moment after the pod.
const doubt = 2

// tried notes what came of an attempt to make the node agree with a snapshot.
func (p *pass) tried(err error) {
	p.failure = err
	if err == nil {
		p.failures = 0
	} else {
		p.failures++
	}
}

// tell hands out what the kernel does with the node's pods, where that is news.
// s is the snapshot that was worked on.
func (a *Agent) tell(s *mesh.Snapshot, p *pass) {
	if a.Outcome == nil || s == nil {
		return
	}
	now := p.capture(s)
	if last := p.told; last != nil && last.Snapshot == s && last.Err == now.Err &&
		maps.Equal(last.Pods, now.Pods) && maps.Equal(last.Refused, now.Refused) {
		return
	}
	p.told = now
	a.Outcome(now)
}

// capture is what is known of the kernel. While the node does not agree with the
// plan, that is what was there before, and after some attempts nothing.
func (p *pass) capture(s *mesh.Snapshot) *mesh.Capture {
	c := &mesh.Capture{Snapshot: s, Pods: map[string]netip.Addr{}, Refused: map[string]string{}}
	lost := p.failure != nil && (p.failures >= doubt || !p.installed)
	if lost {
		c.Err = p.failure.Error()
	}
	if lost && !p.node.ok {
		return c
	}
	for _, pod := range p.node.config.Pods {
		if why, refused := p.node.refused[pod.UID]; refused {
			c.Refused[pod.UID] = why
		} else {
			c.Pods[pod.UID] = pod.IP
		}
	}
	return c
}
