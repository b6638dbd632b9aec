// SPDX-License-Identifier: Apache-2.0

package config

import (
	"errors"
	"fmt"
	"net/netip"
	"strconv"

	matcherv3 "github.com/cncf/xds/go/xds/type/matcher/v3"
	networkv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/matching/common_inputs/network/v3"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"github.com/ambient22/ambient22/internal/proxy/match"
)

// The names of the inputs that can be matched.
var (
	destinationPort = proto.MessageName(&networkv3.DestinationPortInput{})
	destinationIP   = proto.MessageName(&networkv3.DestinationIPInput{})
	sourceIP        = proto.MessageName(&networkv3.SourceIPInput{})
)

// tree decodes one level of a matcher and everything below it.
func tree(m *matcherv3.Matcher) (*match.Node, error) {
	t := m.GetMatcherTree()
	if t == nil {
		return nil, errors.New("matcher_tree: is missing")
	}
	n := &match.Node{}
	switch name := t.GetInput().GetTypedConfig().MessageName(); name {
	case destinationPort:
		n.Input, n.Ports = match.DestinationPort, make(map[uint16]match.Outcome)
	case destinationIP:
		n.Input, n.IPs = match.DestinationIP, make(map[netip.Addr]match.Outcome)
	case sourceIP:
		n.Input, n.IPs = match.SourceIP, make(map[netip.Addr]match.Outcome)
	default:
		return nil, fmt.Errorf("matcher_tree.input: type %s is not supported here", name)
	}
	for key, on := range t.GetExactMatchMap().GetMap() {
		if err := addMatch(n, key, on); err != nil {
			return nil, in(err, "matcher_tree.exact_match_map.map[%q]", key)
		}
	}
	if m.GetOnNoMatch() != nil {
		out, err := outcome(m.GetOnNoMatch())
		if err != nil {
			return nil, in(err, "on_no_match")
		}
		n.NoMatch = &out
	}
	return n, nil
}

// addMatch adds one entry. Envoy compares the key as text with the input as
// text, so a key that is not in canonical form would never match; it is refused.
func addMatch(n *match.Node, key string, on *matcherv3.Matcher_OnMatch) error {
	out, err := outcome(on)
	if err != nil {
		return err
	}
	if n.Input == match.DestinationPort {
		port, err := strconv.ParseUint(key, 10, 16)
		if err != nil || strconv.FormatUint(port, 10) != key {
			return errors.New("key is not a port")
		}
		n.Ports[uint16(port)] = out
		return nil
	}
	ip, err := netip.ParseAddr(key)
	if err != nil || ip.String() != key {
		return errors.New("key is not an IP address")
	}
	n.IPs[ip] = out
	return nil
}

func outcome(on *matcherv3.Matcher_OnMatch) (match.Outcome, error) {
	if m := on.GetMatcher(); m != nil {
		next, err := tree(m)
		if err != nil {
			return match.Outcome{}, in(err, "matcher")
		}
		return match.Outcome{Next: next}, nil
	}
	name, err := message[*wrapperspb.StringValue](on.GetAction().GetTypedConfig(), "action.typed_config")
	if err != nil {
		return match.Outcome{}, err
	}
	return match.Outcome{Chain: name.GetValue()}, nil
}
