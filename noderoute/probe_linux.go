// SPDX-License-Identifier: Apache-2.0

package noderoute

import (
	"context"
	"errors"
	"fmt"
	"net/netip"

	"github.com/ambient22/ambient22/geneve"
	"github.com/ambient22/ambient22/internal/osthread"
	"github.com/ambient22/ambient22/ipset"
	"golang.org/x/sys/unix"
)

// Whether a kernel has what a plan needs is found out by doing it: in a network
// namespace of its own that nobody uses and that is gone afterwards. First
// everything at once; only if that fails, feature by feature, to name each.

// feature is one thing a kernel may lack.
type feature struct {
	name   string
	config string // the kernel's build option
	module string // empty where it can only be built in
	try    func(*session, tools) error
}

// probe tries the plan's objects and names the features that fail.
func (s *session) probe(p Plan, t tools) ([]Problem, error) {
	err := inThrowAway(s.ctx, p.Side, func(s *session) error { return s.tryAll(p, t) })
	if err == nil {
		return nil, nil
	}
	if errors.Is(err, errNoNamespace) {
		return s.ask(p, err)
	}
	var out []Problem
	for _, f := range features(p) {
		missing := inThrowAway(s.ctx, p.Side, func(s *session) error { return f.try(s, t) })
		if missing != nil {
			out = append(out, f.lacking(missing))
		}
	}
	if len(out) == 0 {
		return nil, fmt.Errorf("trying out the plan in a network namespace of its own: %w", err)
	}
	return out, nil
}

// ask is what can be found out without a namespace to try things in: whether the
// kernel has the tunnel devices, the feature that is lacking most often. That the
// rest is unknown is said, and stands in nobody's way.
func (s *session) ask(p Plan, why error) ([]Problem, error) {
	out := []Problem{{
		What:   "cannot make a network namespace to try out what the kernel can: " + why.Error(),
		Where:  "unshare",
		WayOut: "run with CAP_SYS_ADMIN to have the kernel checked beforehand",
	}}
	for _, d := range p.Devices[:min(1, len(p.Devices))] {
		err := s.links.Known(d.Kind)
		if errors.Is(err, geneve.ErrUnsupported) {
			out = append(out, tunnelFeature(d).lacking(err))
		} else if err != nil {
			return nil, err
		}
	}
	return out, nil
}

func (f feature) lacking(err error) Problem {
	return Problem{What: "the kernel lacks " + f.name, Where: err.Error(), WayOut: f.wayOut(), Blocking: true}
}

func (f feature) wayOut() string {
	s := "take a kernel with " + f.config
	if f.module != "" {
		s = fmt.Sprintf("load the module %s, or %s", f.module, s)
	}
	if f.module == geneve.Geneve.String() {
		s += "; for trying things out, --tunnel=vxlan on the node and in the ztunnel pod stands in for it"
	}
	return s
}

var errNoNamespace = errors.New("no permission")

// inThrowAway runs f in a new network namespace, which ends with its thread.
func inThrowAway(ctx context.Context, side Side, f func(*session) error) error {
	return osthread.Throwaway(func() error {
		if err := unix.Unshare(unix.CLONE_NEWNET); err != nil {
			return fmt.Errorf("%w: %w", errNoNamespace, err)
		}
		n, err := New(Options{})
		if err != nil {
			return err
		}
		defer n.Close()
		_, err = n.in(ctx, side, f)
		return err
	})
}

func (s *session) tryAll(p Plan, t tools) error {
	if err := s.links.Apply(geneve.Diff(p.Devices, nil)); err != nil {
		return err
	}
	if p.Set != nil {
		if err := s.sets.Apply(ipset.Changes{Name: p.Set.Name, Create: true}); err != nil {
			return err
		}
	}
	var tables []tableChange
	for _, table := range p.Tables {
		tables = append(tables, diffTable(p.Side, table, nil))
	}
	if err := s.restoreTables(t, tables); err != nil {
		return err
	}
	var rules []ruleChange
	for _, r := range p.Rules {
		rules = append(rules, ruleChange{Rule: r})
	}
	return s.writeRules(rules)
}

// features are what a plan needs of the kernel, one by one.
func features(p Plan) []feature {
	out := []feature{{
		name:   "ip rules with a mark",
		config: "CONFIG_IP_MULTIPLE_TABLES and CONFIG_FIB_RULES",
		try: func(s *session, _ tools) error {
			return s.writeRules([]ruleChange{{Rule: Rule{Priority: 100, Mark: 1, Mask: 1, Table: 100}}})
		},
	}}
	for _, d := range p.Devices[:min(1, len(p.Devices))] {
		out = append(out, tunnelFeature(d))
	}
	rule := func(name, config, module, table, chain, rule string) {
		out = append(out, feature{name: name, config: config, module: module, try: func(s *session, t tools) error {
			return s.restoreTables(t, []tableChange{{table: table, lines: []string{"-A " + chain + " " + rule}}})
		}})
	}
	rule("the iptables table mangle", "CONFIG_IP_NF_MANGLE or CONFIG_NF_TABLES", "iptable_mangle or nf_tables", "mangle", "PREROUTING", "-j ACCEPT")
	rule("the iptables table nat", "CONFIG_IP_NF_NAT or CONFIG_NFT_NAT", "iptable_nat or nft_chain_nat", "nat", "PREROUTING", "-j ACCEPT")
	rule("the iptables target MARK", "CONFIG_NETFILTER_XT_MARK", "xt_mark", "mangle", "PREROUTING", "-j MARK --set-xmark 0x1/0x1")
	if p.Side == InPod {
		rule("the iptables target TPROXY", "CONFIG_NETFILTER_XT_TARGET_TPROXY", "xt_TPROXY", "mangle", "PREROUTING",
			"-p tcp -j TPROXY --on-port 1 --on-ip 127.0.0.1 --tproxy-mark 0x1/0x1")
		rule("the iptables target REDIRECT", "CONFIG_NETFILTER_XT_TARGET_REDIRECT", "xt_REDIRECT", "nat", "OUTPUT",
			"-p tcp -j REDIRECT --to-ports 1")
		rule("the iptables target LOG", "CONFIG_NETFILTER_XT_TARGET_LOG", "xt_LOG", "mangle", "PREROUTING", "-j LOG")
		return out
	}
	rule("the iptables match mark", "CONFIG_NETFILTER_XT_MARK", "xt_mark", "mangle", "PREROUTING", "-m mark --mark 0x1/0x1 -j ACCEPT")
	rule("the iptables match connmark", "CONFIG_NETFILTER_XT_CONNMARK", "xt_connmark", "mangle", "PREROUTING", "-m connmark --mark 0x1/0x1 -j ACCEPT")
	rule("the iptables target CONNMARK", "CONFIG_NETFILTER_XT_CONNMARK", "xt_connmark", "mangle", "PREROUTING",
		"-j CONNMARK --save-mark --nfmask 0x1 --ctmask 0x1")
	rule("the iptables target DNAT", "CONFIG_NETFILTER_XT_NAT", "xt_nat", "nat", "PREROUTING", "-p udp -j DNAT --to-destination 192.0.2.1:1")
	return append(out, feature{
		name: "IP sets of type hash:ip", config: "CONFIG_IP_SET_HASH_IP", module: "ip_set_hash_ip",
		try: func(s *session, _ tools) error { return s.sets.Apply(ipset.Changes{Name: SetName, Create: true}) },
	}, feature{
		name: "the iptables match set", config: "CONFIG_NETFILTER_XT_SET", module: "xt_set",
		try: func(s *session, t tools) error {
			if err := s.sets.Apply(ipset.Changes{Name: SetName, Create: true}); err != nil {
				return nil // already named as the set's type
			}
			return s.restoreTables(t, []tableChange{{table: "mangle", lines: []string{
				"-A PREROUTING -m set --match-set " + SetName + " src -j ACCEPT",
			}}})
		},
	})
}

// tunnelFeature is the kind of a tunnel device.
func tunnelFeature(d geneve.Device) feature {
	return feature{
		name:   d.Kind.String() + " devices",
		config: map[geneve.Kind]string{geneve.Geneve: "CONFIG_GENEVE", geneve.VXLAN: "CONFIG_VXLAN"}[d.Kind],
		module: d.Kind.String(),
		try: func(s *session, _ tools) error {
			return s.links.Apply(geneve.Diff([]geneve.Device{d}, nil))
		},
	}
}

// probePlan is what to try out for a configuration: its own plan with an
// address and a veth that need not exist.
func probePlan(c HostConfig) (Plan, error) {
	nobody := netip.AddrFrom4([4]byte{192, 0, 2, 1}) // RFC 5737
	c.ZtunnelIP, c.HostIP, c.Pods = nobody, nobody.Next(), nil
	return PlanHost(c, Facts{Ztunnel: Hop{Dev: "probe", Bits: 32, MTU: 1500}})
}

func probePodPlan(c PodConfig) (Plan, error) {
	nobody := netip.AddrFrom4([4]byte{192, 0, 2, 1})
	return PlanPod(c, PodFacts{IP: nobody, Gateway: nobody.Next(), MTU: 1500})
}
