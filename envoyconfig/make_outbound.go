// SPDX-License-Identifier: Apache-2.0

package envoyconfig

import (
	"cmp"
	"slices"

	matcherv3 "github.com/cncf/xds/go/xds/type/matcher/v3"
	listenerv3 "github.com/envoyproxy/go-control-plane/envoy/config/listener/v3"

	"github.com/ambient22/ambient22/envoyconfig/internal/wire"
)

// outboundListener is the listener for what the pods of this node send. It is by
// far the largest resource: each caller has a chain to every service and pod, and
// as many ways in the matcher. They are the same for all callers but for the
// caller's name, so they are built once for anyCaller and written for each.
type outboundListener struct {
	where    destinations
	forms    [2]*callerForms // of callers without and with a waypoint, nil until there is one
	blocks   map[string]*callerBlock
	sources  []source
	resource *Resource
}

// destinations are what the ways of all callers are made from.
type destinations struct {
	pods     []destination
	services []virtual
	crossed  []string
	direct   bool
}

// callerForms are all chains and all ways of any caller.
type callerForms struct{ chains, ways *wire.Template }

// callerBlock is what they make for one.
type callerBlock struct {
	waypoint     bool
	chains, ways wire.Parts
}

// source is one address of this node, and who is behind it.
type source struct{ ip, identity string }

func (d *destinations) equal(other *destinations) bool {
	return d.direct == other.direct && slices.Equal(d.crossed, other.crossed) &&
		slices.Equal(d.pods, other.pods) && slices.EqualFunc(d.services, other.services, sameService)
}

// sameService compares what a caller's ways show of a service.
func sameService(a, b virtual) bool {
	if a.VIP != b.VIP || a.waypoint != b.waypoint || a.Name != b.Name || a.Namespace != b.Namespace || len(a.Ports) != len(b.Ports) {
		return false
	}
	for i := range a.Ports {
		if a.Ports[i].Number != b.Ports[i].Number || a.Ports[i].Name != b.Ports[i].Name {
			return false
		}
	}
	return true
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

// callerForms builds everything that a caller sees.
func (b *builder) callerForms(waypoint bool) (*callerForms, error) {
	c := anyCaller()
	c.waypoint = waypoint
	chains := b.callerChains(c)
	for _, chain := range chains {
		if err := b.check(chain); err != nil {
			return nil, err
		}
	}
	var f callerForms
	var err error
	if f.chains, err = wire.Compile(&listenerv3.Listener{FilterChains: chains}); err != nil {
		return nil, err
	}
	f.ways, err = b.template(matchMap(b.callerWays(c)))
	return &f, err
}

// outbound makes the listener.
func (m *maker) outbound() error {
	old, now := &m.old.outbound, &m.next.outbound
	v := m.view
	now.where = destinations{pods: v.destinations, services: v.virtual, crossed: v.crossed, direct: v.direct}
	blocks := old.blocks
	if old.where.equal(&now.where) {
		now.forms = old.forms
	} else {
		blocks = nil
	}
	made, err := m.callerBlocks(blocks, now)
	if err != nil {
		return err
	}
	for _, w := range v.sources {
		now.sources = append(now.sources, source{ip: w.IP.String(), identity: v.identity(w)})
	}
	slices.SortFunc(now.sources, func(a, b source) int { return cmp.Compare(a.ip, b.ip) })
	if made == 0 && len(old.blocks) == len(now.blocks) && slices.Equal(old.sources, now.sources) && old.resource != nil {
		now.resource = old.resource
		return nil
	}
	now.resource, err = m.outboundListener(now)
	if err == nil {
		now.resource = kept(old.resource, now.resource)
	}
	return err
}

// callerBlocks makes what callers see, where it is not among the old blocks, and
// returns for how many it did.
func (m *maker) callerBlocks(old map[string]*callerBlock, now *outboundListener) (made int, err error) {
	now.blocks = make(map[string]*callerBlock, len(m.view.callers))
	var missing []*caller
	for i := range m.view.callers {
		c := &m.view.callers[i]
		if block := old[c.identity]; block != nil && block.waypoint == c.waypoint {
			now.blocks[c.identity] = block
			continue
		}
		missing = append(missing, c)
		if now.forms[formOf(c)] == nil {
			if now.forms[formOf(c)], err = m.leaf.callerForms(c.waypoint); err != nil {
				return 0, err
			}
		}
	}
	blocks := make([]*callerBlock, len(missing))
	err = each(len(missing), func(w *wire.Writer, i int) error {
		c := missing[i]
		f := now.forms[formOf(c)]
		f.chains.Write(w, c.identity)
		w.Cut()
		f.ways.Write(w, c.identity)
		pieces, err := w.Finish()
		if err == nil {
			blocks[i] = &callerBlock{waypoint: c.waypoint, chains: pieces[0], ways: pieces[1]}
		}
		return err
	})
	for i, c := range missing {
		now.blocks[c.identity] = blocks[i]
	}
	return len(missing), err
}

func formOf(c *caller) int {
	if c.waypoint {
		return 1
	}
	return 0
}

// outboundListener puts the callers' blocks into the listener. Pods of one identity
// go the same ways, and share them.
func (m *maker) outboundListener(o *outboundListener) (*Resource, error) {
	if len(o.sources) == 0 {
		l := m.leaf.outboundListener(nil, nil)
		return m.leaf.resource(l.Name, l)
	}
	var chains []wire.Parts
	for i := range m.view.callers {
		chains = append(chains, o.blocks[m.view.callers[i].identity].chains)
	}
	var w wire.Writer
	for _, s := range o.sources {
		m.next.forms.source.WriteAround(&w, [][]wire.Parts{{o.blocks[s.identity].ways}}, s.ip)
		w.Cut()
	}
	sources, err := w.Finish()
	if err != nil {
		return nil, err
	}
	return listener(OutboundListener, m.next.forms.outbound, chains, sources)
}

func matchMap(branches onMatches) *matcherv3.Matcher_MatcherTree_MatchMap {
	return &matcherv3.Matcher_MatcherTree_MatchMap{Map: branches}
}
