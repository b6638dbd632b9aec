// SPDX-License-Identifier: Apache-2.0

package nodediff

import (
	"errors"
	"fmt"

	"github.com/ambient22/ambient22/internal/dump"
	"github.com/ambient22/ambient22/internal/dump/iproute"
	"github.com/ambient22/ambient22/internal/dump/iptsave"
	"github.com/ambient22/ambient22/ipset"
	"github.com/ambient22/ambient22/noderoute"
)

// errNothing says that a dump has nothing that could be compared.
var errNothing = errors.New("there is nothing of this kind in the dump")

// findings compares the node, and the ztunnel's pod, with the plan.
func (l *legacy) findings() ([]Finding, error) {
	var out []Finding
	var problems []error
	compared := false
	add := func(s *space, plan func() (noderoute.Plan, error)) {
		if s == nil || !l.options.covers(s.name) {
			return
		}
		p, err := plan()
		if err != nil {
			problems = append(problems, err)
			return
		}
		compared = true
		out = append(out, l.against(s, p)...)
	}
	add(l.host, l.planHost)
	add(l.pod, l.planPod)
	if !compared {
		if len(problems) == 0 {
			return nil, fmt.Errorf("comparing with the plan: the dump has no %s: %w", l.options.Scope, errNothing)
		}
		return nil, errors.Join(problems...)
	}
	for _, err := range problems {
		out = append(out, Finding{Kind: Unshown, Space: dump.ZtunnelSpace, Section: Parameters, Note: err.Error()})
	}
	return l.known(append(l.contradictions(), out...)), nil
}

// against compares one namespace with its plan.
func (l *legacy) against(s *space, p noderoute.Plan) []Finding {
	c := &comparison{space: s, plan: p, reasons: l.reasons(p), l: l}
	c.chains()
	c.rules()
	c.routes()
	c.links()
	c.sets()
	c.sysctls()
	return c.found
}

// comparison is one namespace being compared with its plan.
type comparison struct {
	*space
	plan    noderoute.Plan
	reasons *reasons
	l       *legacy
	found   []Finding
	foreign foreigners
}

func (c *comparison) block(section Section, place, file string, ordered, excerpt bool, want, have []item) {
	b := block{
		space: c.name, section: section, place: place, file: file,
		ordered: ordered, excerpt: excerpt, want: want, have: have,
	}
	for _, f := range b.compare() {
		if f.Kind == Foreign {
			c.foreign.add(c.name, section, f.Owner, f.Count)
			continue
		}
		c.found = append(c.found, f)
	}
}

// unshown notes that a kind of text is not in the dump.
func (c *comparison) unshown(section Section, kind dump.Kind) {
	note := "the dump does not have it"
	if why := c.Missing[kind]; why != "" {
		note += ": " + why
	}
	c.found = append(c.found, Finding{Kind: Unshown, Space: c.name, Section: section, Place: string(kind), Note: note})
}

// rules compares the ip rules.
func (c *comparison) rules() {
	if c.Rules == nil {
		c.unshown(IPRules, dump.KindRules)
		return
	}
	var want, have []item
	for _, r := range c.plan.Rules {
		it := wantedRule(r)
		it.why = c.reasons.ipRule(r)
		want = append(want, it)
	}
	for _, r := range c.Rules {
		it := ipRuleItem(r)
		it.owner = ipRuleOwner(r, c.plan.Rules)
		have = append(have, it)
	}
	c.block(IPRules, "", c.file(dump.KindRules), false, c.excerptRules(), want, have)
	c.lost()
	c.flush()
}

// lost finds that a rule jumps to a priority that nobody has: the kernel then passes
// the rule over.
func (c *comparison) lost() {
	at := map[uint32]bool{}
	for _, r := range c.Rules {
		at[r.Priority] = true
	}
	for _, r := range c.Rules {
		if r.Action == "goto" && !at[r.Goto] && !c.excerptRules() {
			it := ipRuleItem(r)
			c.found = append(c.found, Finding{
				Kind: Missing, Space: c.name, Section: IPRules, File: c.file(dump.KindRules), Line: r.Line,
				Want: fmt.Sprintf("%d: from all lookup main", r.Goto),
				Note: fmt.Sprintf("%q jumps to priority %d, and no rule is there: the kernel passes it over", it.line, r.Goto),
				Why:  c.reasons.ipRuleMain(),
			})
		}
	}
}

// routes compares the routing tables that are the data path's own.
func (c *comparison) routes() {
	if c.Routes == nil {
		c.unshown(Routes, dump.KindRoutes)
		return
	}
	for table := uint32(noderoute.TableInbound); table < noderoute.TableDrain+noderoute.DrainSlots; table++ {
		var want, have []item
		for _, r := range c.plan.Routes {
			if r.Table == table {
				it := wantedRoute(r, nil)
				it.why = c.reasons.route(r)
				want = append(want, it)
			}
		}
		for _, r := range c.Routes {
			if r.Table == table && !r.IPv6 {
				it := routeItem(r, nil)
				if table >= noderoute.TableDrain && len(want) == 0 {
					it.owner = "somebody else's (table " + tableName(table) + ")"
				}
				have = append(have, it)
			}
		}
		c.block(Routes, "table "+tableName(table), c.file(dump.KindRoutes), false, c.excerptTableRoutes(table), want, have)
	}
	for _, refused := range c.plan.Refused {
		c.found = append(c.found, Finding{
			Kind: Missing, Space: c.name, Section: Routes, Place: "table main",
			Want: fmt.Sprintf("%s dev VETH scope link", refused.Pod.IP),
			Note: fmt.Sprintf("pod %s can't be enrolled: %v", refused.Pod.IP, refused.Err),
			Why:  "Each enrolled pod hangs on a veth of its own with a route to its one address; the CNI plugin makes both.",
		})
	}
	foreign := map[uint32]int{}
	for _, r := range c.Routes {
		if !r.IPv6 && !ourTable(r.Table) {
			foreign[r.Table]++
		}
	}
	for table, n := range foreign {
		c.foreign.add(c.name, Routes, "table "+tableName(table), n)
	}
	c.flush()
}

// links compares the tunnel devices.
func (c *comparison) links() {
	if c.Links == nil {
		c.unshown(Devices, dump.KindLinks)
		return
	}
	underlay := c.l.w.value(paramVeth)
	if c.plan.Side == noderoute.InPod {
		underlay = "eth0"
	}
	var mtu uint32
	if link := c.link(underlay); link != nil && link.MTU > geneveOverhead {
		mtu = link.MTU - geneveOverhead
	}
	planned := map[string]bool{}
	for _, d := range c.plan.Devices {
		planned[d.Name] = true
		var have []item
		l := c.link(d.Name)
		if l != nil {
			have = append(have, linkItem(l, nil))
		}
		want := wantedLink(d, l, mtu)
		want.why = c.reasons.device(d.Name)
		c.block(Devices, d.Name, c.file(dump.KindLinks), false, c.excerptLinks(), []item{want}, have)
	}
	for _, l := range c.Links {
		switch {
		case planned[l.Name]:
		case tunnelDevice(l.Name) && l.Tunnel != nil:
			c.block(Devices, l.Name, c.file(dump.KindLinks), false, false, nil, []item{linkItem(l, nil)})
		default:
			c.foreign.add(c.name, Devices, linkOwner(l), 1)
		}
	}
	c.flush()
}

// geneveOverhead is what the tunnel takes of its underlay's MTU, in bytes.
const geneveOverhead = 50

// sets compares the set of enrolled pods.
func (c *comparison) sets() {
	if c.plan.Set == nil {
		return
	}
	if c.excerptSets() {
		c.unshown(Sets, dump.KindSets)
		return
	}
	want := newItem("create "+noderoute.SetName+" "+ipset.TypeHashIP, []attr{{"set", noderoute.SetName}, {"type", ipset.TypeHashIP}})
	want.why = c.reasons.set()
	var made, have, entries []item
	comments := c.l.uids
	for _, s := range c.Sets {
		if s.Name != noderoute.SetName {
			c.foreign.add(c.name, Sets, setOwner(s.Name), 1)
			continue
		}
		made = append(made, setItem(s))
		for _, e := range s.Entries {
			have = append(have, entryItem(s.Name, e, comments && e.Comment != ""))
		}
	}
	c.block(Sets, noderoute.SetName, c.file(dump.KindSets), false, false, []item{want}, made)
	for _, e := range c.plan.Set.Entries {
		it := newItem("add "+noderoute.SetName+" "+e.String(), entryFields(e, comments && c.commented(e)))
		it.why = c.reasons.entry(e)
		entries = append(entries, it)
	}
	c.block(Sets, noderoute.SetName, c.file(dump.KindSets), false, false, entries, have)
	c.flush()
}

// commented tells whether the set has a comment for this entry: a kernel may not be
// able to keep them.
func (c *comparison) commented(e ipset.Entry) bool {
	if e.Comment == "" {
		return false
	}
	for _, x := range c.set(noderoute.SetName).Entries {
		if x.Elem == e.IP.String() {
			return x.Comment != ""
		}
	}
	return true
}

func entryFields(e ipset.Entry, comment bool) []attr {
	fields := []attr{{"entry", e.IP.String()}}
	if comment {
		fields = append(fields, attr{"comment", e.Comment})
	}
	return fields
}

// sysctls compares the settings.
func (c *comparison) sysctls() {
	if c.Sysctls == nil {
		c.unshown(Sysctls, dump.KindSysctls)
		return
	}
	wanted := c.plan.Sysctls
	for _, y := range wanted {
		if y.Device != noVeth {
			c.sysctl(sysctlName(y), y.Value, c.reasons.sysctl(y))
		}
	}
	if c.plan.Side == noderoute.Host {
		c.sysctl("net.ipv4.ip_forward", "1", "A node that does not forward reaches neither its pods nor their ztunnel.")
	}
}

// sysctlName is a setting as sysctl prints it; dots in a device's name become slashes.
func sysctlName(y noderoute.Sysctl) string {
	device := []byte(y.Device)
	for i, b := range device {
		if b == '.' {
			device[i] = '/'
		}
	}
	return fmt.Sprintf("net.ipv4.conf.%s.%s", device, y.Key)
}

func (c *comparison) sysctl(name, want, why string) {
	have, is := c.Sysctls[name]
	f := Finding{
		Kind: Equal, Space: c.name, Section: Sysctls, Want: name + " = " + want, Why: why,
		Have: name + " = " + have, File: c.file(dump.KindSysctls),
	}
	switch {
	case !is:
		f.Kind, f.Have, f.File = Unshown, "", ""
		f.Note = "the dump does not have this setting"
	case have != want:
		f.Kind, f.Fields = Changed, []Field{{name, want, have}}
	}
	c.found = append(c.found, f)
}

// flush moves what was counted of others to the findings.
func (c *comparison) flush() {
	c.found = append(c.found, c.foreign.findings()...)
	c.foreign = foreigners{}
}

func ruleOf(line string) (*iptsave.Rule, error) { return iptsave.ParseRule(line) }

// linkOwner says whose a device is.
func linkOwner(l *iproute.Link) string {
	if l.Kind == "" {
		return "the machine's own"
	}
	return l.Kind
}
