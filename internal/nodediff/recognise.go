// SPDX-License-Identifier: Apache-2.0

package nodediff

import (
	"fmt"
	"slices"
	"strings"

	"github.com/ambient22/ambient22/internal/dump"
	"github.com/ambient22/ambient22/internal/dump/nft"
	"github.com/ambient22/ambient22/noderoute"
)

// recognition is a generation with what comparing it with its rules found.
type recognition struct {
	Generation
	findings []Finding
	err      error
}

// Recognise says which generations of Istio's interception a dump shows; none is an
// empty list.
func Recognise(n *dump.Node) ([]Generation, error) {
	found, err := recognise(n, Options{})
	var out []Generation
	for _, r := range found {
		out = append(out, r.Generation)
	}
	return out, err
}

func recognise(n *dump.Node, o Options) ([]recognition, error) {
	var out []recognition
	l := readLegacy(n, o)
	if evidence := l.evidence(); len(evidence) > 0 || o.ZtunnelIP.IsValid() {
		r := recognition{Generation: Generation{Name: Geneve, Space: legacySpace(n), Variant: l.variant(), Evidence: evidence}}
		r.findings, r.err = l.findings()
		r.Parameters, r.Note = l.parameters(), l.lentNote()
		r.count()
		out = append(out, r)
	}
	tables, err := foreignTables()
	if err != nil {
		return nil, err
	}
	for _, s := range spaces(n) {
		for _, t := range tables {
			if r, is := recogniseForeign(t, s); is {
				out = append(out, r)
			}
		}
	}
	return out, nil
}

// spaces are all namespaces of a dump.
func spaces(n *dump.Node) []*dump.Netns {
	var out []*dump.Netns
	for _, s := range append([]*dump.Netns{n.Host, n.Ztunnel}, n.Pods...) {
		if s != nil {
			out = append(out, s)
		}
	}
	return out
}

func legacySpace(n *dump.Node) string {
	switch {
	case n.Host == nil:
		return dump.ZtunnelSpace
	case n.Ztunnel == nil:
		return dump.HostSpace
	}
	return dump.HostSpace + " and " + dump.ZtunnelSpace
}

// count says how many of the wanted rules of iptables are there as they should be.
func (r *recognition) count() {
	for _, f := range r.findings {
		if f.Section == IPTables && f.Want != "" {
			r.Want++
			if f.Kind == Equal {
				r.Have++
			}
		}
	}
}

// evidence are the lines by which the legacy generation is known.
func (l *legacy) evidence() []Evidence {
	var out []Evidence
	if l.host != nil {
		out = append(out, l.hostEvidence()...)
	}
	if l.pod != nil {
		out = append(out, l.pod.podEvidence()...)
	}
	return out
}

func (l *legacy) hostEvidence() []Evidence {
	s := l.host
	var out []Evidence
	if s.save != nil {
		for _, t := range s.save.Tables {
			for _, c := range t.Chains {
				if legacyChain(c.Name) && slices.Contains(legacyChains(), c.Name) {
					out = append(out, chainEvidence(s, t.Name, c))
				}
			}
		}
	}
	if set := s.set(noderoute.SetName); set != nil {
		out = append(out, Evidence{Line: setItem(set).line, File: s.file(dump.KindSets), LineNo: set.Line, Says: "the set of enrolled pods"})
	}
	out = append(out, s.deviceEvidence(noderoute.DeviceInbound, noderoute.DeviceOutbound)...)
	out = append(out, s.ruleEvidence(100, 103)...)
	return append(out, s.routeEvidence()...)
}

// routeEvidence takes the routes through tunnel devices.
func (s *space) routeEvidence() []Evidence {
	var out []Evidence
	for _, r := range s.Routes {
		if ourTable(r.Table) && tunnelDevice(r.Dev) {
			out = append(out, Evidence{Line: routeItem(r, nil).line, File: s.file(dump.KindRoutes), LineNo: r.Line, Says: "a route into a tunnel"})
		}
	}
	return out
}

func legacyChains() []string {
	return []string{"ztunnel-PREROUTING", "ztunnel-INPUT", "ztunnel-FORWARD", "ztunnel-OUTPUT", "ztunnel-POSTROUTING"}
}

func (s *space) deviceEvidence(names ...string) []Evidence {
	var out []Evidence
	for _, name := range names {
		if l := s.link(name); l != nil && l.Tunnel != nil {
			out = append(out, Evidence{Line: linkItem(l, nil).line, File: s.file(dump.KindLinks), LineNo: l.Line,
				Says: fmt.Sprintf("the tunnel device %s", name)})
		}
	}
	return out
}

// ruleEvidence takes the ip rules whose marks and tables are the generation's. The
// numbers of tables and priorities alone are anybody's.
func (s *space) ruleEvidence(from, to uint32) []Evidence {
	var out []Evidence
	sure := false
	for _, r := range s.Rules {
		if r.Priority < from || r.Priority > to {
			continue
		}
		marked := slices.ContainsFunc(markedRules(), func(p noderoute.Rule) bool {
			return r.Mark == p.Mark && r.Mask == p.Mask && r.Table == p.Table && r.Goto == p.Goto
		})
		if marked || r.Table == noderoute.TableInbound && r.Mark == 0 {
			sure = sure || marked
			out = append(out, Evidence{Line: ipRuleItem(r).line, File: s.file(dump.KindRules), LineNo: r.Line, Says: "an ip rule of the data path"})
		}
	}
	if !sure {
		return nil
	}
	return out
}

// markedRules are the data path's ip rules on a node and in a ztunnel's pod that ask
// for a mark.
func markedRules() []noderoute.Rule {
	pod := func(mark, table uint32) noderoute.Rule {
		return noderoute.Rule{Mark: mark, Mask: noderoute.PodMarkMask, Table: table}
	}
	return []noderoute.Rule{
		{Mark: noderoute.SkipMark, Mask: noderoute.SkipMask, Goto: 32766},
		{Mark: noderoute.OutboundMark, Mask: noderoute.OutboundMask, Table: noderoute.TableOutbound},
		{Mark: noderoute.ProxyReturnMark, Mask: noderoute.ProxyReturnMask, Table: noderoute.TableProxyReturn},
		pod(noderoute.TproxyMark, noderoute.TableInbound),
		pod(noderoute.OutboundReplyMark, noderoute.TableOutbound),
		pod(noderoute.InboundReplyMark, noderoute.TableProxyReturn),
		pod(noderoute.OriginalSrcReplyMark, noderoute.TableInbound),
	}
}

func (s *space) podEvidence() []Evidence {
	out := s.deviceEvidence(noderoute.PodDeviceInbound, noderoute.PodDeviceOutbound)
	if c := s.chain("mangle", "PREROUTING"); c != nil {
		for _, r := range c.Rules {
			f := fieldsOf(ruleItem(r, nil))
			if f["target"] == "TPROXY" && tunnelDevice(f["-i"]) {
				out = append(out, Evidence{Line: ruleText(r), File: s.file(s.kind), LineNo: r.Line, Says: "what comes out of a tunnel goes to the proxy"})
			}
		}
	}
	out = append(out, s.ruleEvidence(20000, 20003)...)
	return append(out, s.routeEvidence()...)
}

// variant words what is particular about a legacy node.
func (l *legacy) variant() string {
	var words []string
	if l.w.value(paramKind) == "vxlan" {
		words = append(words, "with VXLAN in place of Geneve")
	}
	if l.hardened {
		words = append(words, "hardened")
	}
	if l.dns {
		words = append(words, "DNS capture")
	}
	if n := len(drains(l.host)); n > 0 {
		words = append(words, fmt.Sprintf("%d ztunnel(s) draining", n))
	}
	return strings.Join(words, ", ")
}

// recogniseForeign looks for a generation of others in one namespace.
func recogniseForeign(t *tableOf, ns *dump.Netns) (recognition, bool) {
	g := readForeign(t, ns, ns.Name)
	var r recognition
	if g == nil {
		evidence := nativeEvidence(t.Name, ns)
		if len(evidence) == 0 {
			return r, false
		}
		r.Generation = Generation{Name: t.Name, Space: ns.Name, Variant: "nftables without iptables: its rules are not compared", Evidence: evidence}
		return r, true
	}
	r.Generation = Generation{Name: t.Name, Space: ns.Name, Variant: g.variant(), Evidence: g.evidence, Parameters: g.parameters()}
	r.findings = g.findings()
	r.count()
	return r, true
}

// nativeEvidence are the tables that newer releases make with nftables alone.
func nativeEvidence(generation string, ns *dump.Netns) []Evidence {
	if ns.Ruleset == nil {
		return nil
	}
	prefix := map[string]string{Sidecar: "istio-proxy-", InPod: "istio-ambient-"}[generation]
	var out []Evidence
	for _, t := range ns.Ruleset.Tables {
		if prefix != "" && strings.HasPrefix(t.Name, prefix) {
			out = append(out, nftEvidence(ns, t))
		}
	}
	return out
}

func nftEvidence(ns *dump.Netns, t *nft.Table) Evidence {
	return Evidence{Line: "table " + t.Family + " " + t.Name, File: dump.FileName(ns.Name, dump.KindRuleset), LineNo: t.Line, Says: "a table of nftables"}
}

// variant says how connections reach the proxy.
func (g *foreignGeneration) variant() string {
	switch {
	case g.table.Name == Sidecar && g.has("ISTIO_TPROXY"), g.variants["tproxy"]:
		return "TPROXY"
	case g.table.Name == InPod && g.has("ISTIO_POSTRT"):
		return "the node's side"
	}
	return "REDIRECT"
}

func (g *foreignGeneration) parameters() []Parameter {
	var out []Parameter
	for _, name := range sortedKeys(g.table.Labels) {
		p := g.w.parameter(name)
		if values := g.many[name]; len(values) > 0 {
			p.Value = strings.Join(values, " ")
		}
		if p.Value != "" {
			p.Name = g.table.Labels[name]
			out = append(out, p)
		}
	}
	return out
}

// findings are what comparing found, with the values about which lines disagree.
func (g *foreignGeneration) findings() []Finding {
	var out []Finding
	for _, name := range sortedKeys(g.table.Defaults) {
		for _, f := range g.w.contradictions(name, g.name) {
			f.Place = g.table.Labels[name]
			out = append(out, f)
		}
	}
	return append(out, g.found...)
}

func sortedKeys(m map[string]string) []string {
	var out []string
	for k := range m {
		out = append(out, k)
	}
	slices.Sort(out)
	return out
}
