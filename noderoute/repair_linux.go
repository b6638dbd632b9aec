// SPDX-License-Identifier: Apache-2.0

package noderoute

import (
	"context"
	"net/netip"
)

// Repair is Apply for a node that Apply has programmed for this configuration,
// after something happened to these kinds of things. It changes what differs. The
// rules of iptables are only looked at if kinds has Chains: they are the one thing
// whose listing takes a process, and on a node with thousands of services seconds.
// All else is looked at in any case, because a change of one kind takes others
// along: a device that goes takes its routes.
func (n *Node) Repair(ctx context.Context, c HostConfig, kinds Kinds) (Result, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.in(ctx, Host, func(s *session) error {
		f, err := s.hostFacts(c)
		if err != nil {
			return err
		}
		p, err := PlanHost(c, f)
		if err != nil {
			return err
		}
		var l *listing
		known := append([]netip.Addr{c.ZtunnelIP}, c.Draining...)
		// Where a ztunnel begins or ends to drain, the rules differ for sure.
		if kinds&Chains != 0 || p.switches || len(p.ending) > 0 {
			l, err = s.list(p, known...)
		} else if l, err = s.listKernel(p); err == nil {
			l.tables = asPlanned(p.Tables)
			l.learn(known...)
		}
		if err != nil {
			return err
		}
		return s.settle(p, l)
	})
}

// asPlanned is what listing the tables would find if they were as planned.
func asPlanned(tables []Table) saved {
	out := saved{}
	for _, t := range tables {
		is := &savedTable{name: t.Name}
		for _, c := range t.Own {
			is.chains = append(is.chains, savedChain{name: c.Name, rules: c.Rules})
		}
		for _, c := range t.Head {
			is.chains = append(is.chains, savedChain{name: c.Name, builtin: true, rules: c.Rules})
		}
		out[t.Name] = is
	}
	return out
}
