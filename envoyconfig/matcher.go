// SPDX-License-Identifier: Apache-2.0

package envoyconfig

import (
	"strconv"

	xdscorev3 "github.com/cncf/xds/go/xds/core/v3"
	matcherv3 "github.com/cncf/xds/go/xds/type/matcher/v3"
	networkinputsv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/matching/common_inputs/network/v3"
	"google.golang.org/protobuf/types/known/wrapperspb"
)

// onMatches are the branches of one exact match.
type onMatches map[string]*matcherv3.Matcher_OnMatch

// outboundMatcher chooses a chain of ztunnel_outbound: by the port 15001 itself,
// by source, by destination, and below a service's address by port. A connection
// to an address or port that nothing knows takes the default chain.
func (b *builder) outboundMatcher(sources onMatches) *matcherv3.Matcher {
	root := exactMatch(b.portInput, onMatches{strconv.Itoa(OutboundPort): b.toChain(BlackHoleChain)})
	root.OnNoMatch = b.bySource(sources)
	return root
}

// bySource knows the pods of this node.
func (b *builder) bySource(sources onMatches) *matcherv3.Matcher_OnMatch {
	stranger := b.toChain(PassthroughChain)
	if len(sources) == 0 {
		return stranger // an exact match needs at least one branch
	}
	m := exactMatch(b.sourceInput, sources)
	m.OnNoMatch = stranger
	return toMatcher(m)
}

// byDestination is what a source that goes these ways matches.
func (b *builder) byDestination(ways onMatches) *matcherv3.Matcher_OnMatch {
	return toMatcher(exactMatch(b.addressInput, ways))
}

// waysTo know the chain to each goal, and below a service's address the one to each
// port.
func (b *builder) waysTo(c *caller, goals []goal) onMatches {
	to := make(onMatches, len(goals))
	for _, g := range goals {
		if g.service != nil {
			to[g.text] = b.byPort(c, g.service)
		} else {
			to[g.text] = b.toChain(c.hop(g.pod.waypoint, g.pod.direct).podChainName(c, g.pod.ip))
		}
	}
	return to
}

// byPort knows the ports of a service. They stay apart even where all lead to one
// waypoint: a port that the service does not have takes the default chain.
func (b *builder) byPort(c *caller, s *virtual) *matcherv3.Matcher_OnMatch {
	h := c.hop(s.waypoint, hopService)
	ports := make(onMatches, len(s.Ports))
	for i := range s.Ports {
		p := &s.Ports[i]
		ports[strconv.Itoa(int(p.Number))] = b.toChain(h.serviceChainName(c, s.Service, p))
	}
	return toMatcher(exactMatch(b.portInput, ports))
}

func exactMatch(input *xdscorev3.TypedExtensionConfig, branches onMatches) *matcherv3.Matcher {
	return &matcherv3.Matcher{
		MatcherType: &matcherv3.Matcher_MatcherTree_{MatcherTree: &matcherv3.Matcher_MatcherTree{
			Input: input,
			TreeType: &matcherv3.Matcher_MatcherTree_ExactMatchMap{
				ExactMatchMap: &matcherv3.Matcher_MatcherTree_MatchMap{Map: branches},
			},
		}},
	}
}

func toMatcher(m *matcherv3.Matcher) *matcherv3.Matcher_OnMatch {
	return &matcherv3.Matcher_OnMatch{OnMatch: &matcherv3.Matcher_OnMatch_Matcher{Matcher: m}}
}

// toChain is the action that names a filter chain.
func (b *builder) toChain(name string) *matcherv3.Matcher_OnMatch {
	return &matcherv3.Matcher_OnMatch{OnMatch: &matcherv3.Matcher_OnMatch_Action{
		Action: &xdscorev3.TypedExtensionConfig{Name: name, TypedConfig: b.any(wrapperspb.String(name))},
	}}
}

// matchInputs are the three things the matcher looks at (listing 09).
type matchInputs struct {
	portInput, sourceInput, addressInput *xdscorev3.TypedExtensionConfig
}

func newMatchInputs(p *packer) matchInputs {
	return matchInputs{
		portInput:    &xdscorev3.TypedExtensionConfig{Name: "port", TypedConfig: p.any(&networkinputsv3.DestinationPortInput{})},
		sourceInput:  &xdscorev3.TypedExtensionConfig{Name: "source-ip", TypedConfig: p.any(&networkinputsv3.SourceIPInput{})},
		addressInput: &xdscorev3.TypedExtensionConfig{Name: "ip", TypedConfig: p.any(&networkinputsv3.DestinationIPInput{})},
	}
}
