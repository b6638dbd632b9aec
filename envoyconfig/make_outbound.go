// SPDX-License-Identifier: Apache-2.0

package envoyconfig

import (
	"cmp"
	"slices"

	matcherv3 "github.com/cncf/xds/go/xds/type/matcher/v3"
	listenerv3 "github.com/envoyproxy/go-control-plane/envoy/config/listener/v3"
	"google.golang.org/protobuf/proto"

	"github.com/ambient22/ambient22/envoyconfig/internal/wire"
)

// outboundListener is the listener for what the pods of this node send. It is by
// far the largest resource: each caller has a chain to every service and pod, and
// as many ways in the matcher.
type outboundListener struct {
	goals        []goal
	crossed      []string
	direct       bool
	chains, ways []*chunk // the chains in the order of the goals, the ways in that of their texts
	waypoints    []*chunk // the one with the chains to waypoints, if there are any
	sources      []source
	resource     *Resource
}

// source is one address of this node, and who is behind it.
type source struct {
	ip     string
	caller int // among all callers
}

// outboundForms adds the frame of the listener and of a source. Their own ways are
// only there to be replaced.
func (b *builder) outboundForms(f *forms) error {
	spliced := func(n int) onMatches { return onMatches{wire.Splice(n): b.toChain(PassthroughChain)} }
	chains := []*listenerv3.FilterChain{{Name: wire.Splice(0)}}
	var err error
	if f.outbound, err = b.template(b.outboundListener(chains, spliced(1))); err != nil {
		return err
	}
	f.source, err = b.template(matchMap(onMatches{wire.Hole(0): b.byDestination(spliced(0))}))
	return err
}

// outbound makes the listener.
func (m *maker) outbound() error {
	old, now := &m.old.outbound, &m.next.outbound
	if err := m.outboundChunks(old, now); err != nil {
		return err
	}
	m.sources(now)
	if old.resource != nil && m.bound == nil && slices.Equal(old.sources, now.sources) &&
		sameChunks(old.chains, now.chains) && sameChunks(old.ways, now.ways) && sameChunks(old.waypoints, now.waypoints) {
		now.resource = old.resource
		return nil
	}
	var err error
	if now.resource, err = m.outboundResource(now); err != nil {
		return err
	}
	now.resource = kept(old.resource, now.resource)
	return nil
}

// outboundChunks makes what all callers see.
func (m *maker) outboundChunks(old, now *outboundListener) error {
	now.goals, now.crossed, now.direct = m.view.goals(), m.view.crossed, m.view.direct
	var err error
	if sameGoals(old.goals, now.goals) {
		now.goals, now.chains, now.ways = old.goals, slices.Clone(old.chains), slices.Clone(old.ways)
		if err = m.fillChunks(now.chains, m.chainsTo); err != nil {
			return err
		}
		if err = m.fillChunks(now.ways, m.waysTo); err != nil {
			return err
		}
	} else {
		if now.chains, err = m.chunks(old.chains, chunks(now.goals), m.chainsTo); err != nil {
			return err
		}
		if now.ways, err = m.chunks(old.ways, chunks(byText(now.goals)), m.waysTo); err != nil {
			return err
		}
	}
	now.waypoints = []*chunk{{}}
	if len(old.waypoints) == 1 && old.direct == now.direct && slices.Equal(old.crossed, now.crossed) {
		now.waypoints[0] = old.waypoints[0]
	}
	return m.fillChunks(now.waypoints, m.chainsToWaypoints)
}

// chainsTo are any caller's chains to some goals.
func (m *maker) chainsTo(c *caller, goals []goal) (proto.Message, error) {
	return m.chainFields(m.leaf.chainsTo(c, goals))
}

// chainsToWaypoints are any caller's chains to waypoints.
func (m *maker) chainsToWaypoints(c *caller, _ []goal) (proto.Message, error) {
	return m.chainFields(m.leaf.waypointChains(c))
}

// chainFields are valid chains as a listener holds them.
func (m *maker) chainFields(chains []*listenerv3.FilterChain) (proto.Message, error) {
	for _, chain := range chains {
		if err := m.leaf.check(chain); err != nil {
			return nil, err
		}
	}
	return ofListener(chains...), nil
}

// waysTo are any caller's ways to some goals, as the matcher holds them.
func (m *maker) waysTo(c *caller, goals []goal) (proto.Message, error) {
	ways := matchMap(m.leaf.waysTo(c, goals))
	return ways, m.leaf.check(ways)
}

// sources lists who is behind the addresses of this node, in the matcher's order.
func (m *maker) sources(o *outboundListener) {
	at := make(map[string]int, len(m.next.order.callers))
	for i := range m.next.order.callers {
		at[m.next.order.callers[i].identity] = i
	}
	for _, w := range m.view.sources {
		o.sources = append(o.sources, source{ip: w.IP.String(), caller: at[m.view.identity(w)]})
	}
	slices.SortFunc(o.sources, func(a, b source) int { return cmp.Compare(a.ip, b.ip) })
}

// outboundResource puts the callers' blocks into the listener. Pods of one identity
// go the same ways, and share them.
func (m *maker) outboundResource(o *outboundListener) (*Resource, error) {
	if len(o.sources) == 0 {
		l := m.leaf.outboundListener(nil, nil)
		return m.leaf.resource(l.Name, l)
	}
	var chains []wire.Parts
	for i := range m.next.order.callers {
		chains = appendBlocks(chains, o.chains, i)
		chains = appendBlocks(chains, o.waypoints, i)
	}
	var w wire.Writer
	for _, s := range o.sources {
		ways := appendBlocks(nil, o.ways, s.caller)
		m.next.forms.source.WriteAround(&w, [][]wire.Parts{ways}, s.ip)
		w.Cut()
	}
	sources, err := w.Finish()
	if err != nil {
		return nil, err
	}
	return listener(OutboundListener, m.next.forms.outbound, chains, sources)
}

// appendBlocks appends what one caller has in each chunk.
func appendBlocks(list []wire.Parts, chunks []*chunk, caller int) []wire.Parts {
	for _, c := range chunks {
		list = append(list, c.blocks[caller])
	}
	return list
}

func matchMap(branches onMatches) *matcherv3.Matcher_MatcherTree_MatchMap {
	return &matcherv3.Matcher_MatcherTree_MatchMap{Map: branches}
}
