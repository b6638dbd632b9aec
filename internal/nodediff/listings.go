// SPDX-License-Identifier: Apache-2.0

package nodediff

import (
	"errors"
	"fmt"
	"io/fs"
	"strconv"
	"strings"

	"github.com/ambient22/ambient22/internal/dump"
	"github.com/ambient22/ambient22/internal/dump/iproute"
	"github.com/ambient22/ambient22/internal/dump/iptsave"
	"github.com/ambient22/ambient22/internal/lab/listing"
)

// side is which of the article's nodes a dump is compared with.
type side struct {
	letter     string // "a", "b"
	z, h, veth string // in the listings, slips corrected
	pod        string // the ztunnel's name
}

func sides() []side {
	return []side{
		{"a", "10.4.4.18", "10.4.4.1", "veth300a1d80", "ztunnel-rts54"},
		{"b", "10.4.3.14", "10.4.3.1", "veth28865c45", "ztunnel-z4qmh"},
	}
}

// Listings compares nodes with the article's listings, in the place of which the
// right values stand where the article contradicts itself; each such slip is a
// finding of its own. folder is the topology that has the listings.
func Listings(nodes []*dump.Node, folder fs.FS) ([]*Report, error) {
	listings, err := fs.Sub(folder, "listings")
	if err != nil {
		return nil, fmt.Errorf("reading the listings: %w", err)
	}
	set, err := listing.Load(listings)
	if err != nil {
		return nil, err
	}
	var out []*Report
	for _, n := range nodes {
		r, err := againstArticle(n, set)
		if err != nil {
			return nil, err
		}
		out = append(out, r)
	}
	return out, nil
}

func againstArticle(n *dump.Node, set *listing.Set) (*Report, error) {
	found, err := recognise(n, Options{})
	if err != nil {
		return nil, err
	}
	r := &Report{Version: 1, Node: n.Name, Against: "article", Gaps: n.Gaps, Notes: textSlips()}
	for _, g := range found {
		r.Generations = append(r.Generations, g.Generation)
	}
	l := readLegacy(n, Options{})
	if len(found) > 0 && l.w.value(paramZtunnel) == "" {
		return nil, fmt.Errorf("comparing %s with the article: no line of the dump has the ztunnel's address, so nobody knows which of the article's nodes it stands for; give its other texts, too", n.Name)
	}
	if l.w.value(paramZtunnel) == "" {
		return nil, fmt.Errorf("comparing %s with the article: %w", n.Name, errors.Join(ErrNone, errNothing))
	}
	for _, s := range sides() {
		own, known := sideOf(n, l)
		if known && own != s.letter {
			continue
		}
		c := &articleComparison{legacy: l, side: s, set: set, same: known}
		c.substitute()
		for i := range set.Listings {
			if x := &set.Listings[i]; strings.HasSuffix(x.Host, "-"+s.letter) {
				c.listing(x)
			}
		}
		r.Findings = append(r.Findings, c.found...)
		r.Notes = append(r.Notes, c.notes...)
	}
	return r, nil
}

// sideOf says which node of the article a dump is of, if it is of one.
func sideOf(n *dump.Node, l *legacy) (letter string, known bool) {
	for _, s := range sides() {
		if l.w.value(paramZtunnel) == s.z {
			return s.letter, true
		}
	}
	return "", false
}

// textSlips are the slips that no dump can show.
func textSlips() []string {
	return []string{
		`Three slips of the article are in its text and in no listing, so that no dump shows them: after listing 06 it speaks of pistioin and port 15001, where the rules have pistioout for 15001 and pistioin for 15008 and 15006; after listing 07 it has 0x400/0xfff go to table 101, where the rule says 100; its section on HBONE's endpoints names the cluster outbound_tunnel_clus_... and shows outbound_pod_tunnel_clus_....`,
	}
}

// articleComparison is a node being compared with the listings of one node.
type articleComparison struct {
	*legacy
	side  side
	set   *listing.Set
	same  bool // the dump is of the article's own environment
	swap  *strings.Replacer
	notes []string
	found []Finding
}

// substitute lets the listing's names and addresses stand for those of the dump.
func (c *articleComparison) substitute() {
	var pairs []string
	put := func(what, theirs, ours string) {
		if ours == "" || theirs == ours {
			return
		}
		pairs = append(pairs, theirs, ours)
		c.notes = append(c.notes, fmt.Sprintf("the listings' %s %s stands for this node's, %s", what, theirs, ours))
	}
	put("veth", c.side.veth, c.w.value(paramVeth))
	if !c.same {
		put("ztunnel's pod", c.side.pod, c.w.value(paramName))
		put("ztunnel", c.side.z, c.w.value(paramZtunnel))
		put("node's address", c.side.h+"/", c.w.value(paramHost)+"/")
		put("node's address", "src "+c.side.h, "src "+c.w.value(paramHost))
		put("node's address", "remote "+c.side.h+" ", "remote "+c.w.value(paramGateway)+" ")
	}
	if c.w.value(paramKind) == "vxlan" {
		put("tunnel", "geneve id", "vxlan id")
	}
	c.swap = strings.NewReplacer(pairs...)
}

// listing compares one listing, and tells its slips.
func (c *articleComparison) listing(l *listing.Listing) {
	s := c.host
	if strings.HasPrefix(l.Host, "ztunnel") {
		s = c.pod
	}
	text := c.corrected(l)
	if s == nil {
		c.unshown(l, dump.ZtunnelSpace, "the dump does not have this namespace")
		return
	}
	switch name := strings.Split(l.File, ".")[1]; {
	case strings.HasPrefix(l.Get, "http"):
		c.json(l, s)
	case name == "iptables-save":
		c.iptables(l, s, text)
	case name == "ip-rule":
		c.ipRules(l, s, text)
	case strings.HasPrefix(name, "table-"):
		c.routes(l, s, text, strings.TrimPrefix(name, "table-"))
	default:
		c.links(l, s, text)
	}
}

// corrected is the listing's text with the right values for the slips, each of which
// becomes a finding, and with the dump's names.
func (c *articleComparison) corrected(l *listing.Listing) string {
	lines := strings.Split(l.Text, "\n")
	for _, slip := range l.Slips {
		was := lines[slip.Line-1]
		right := strings.Replace(was, slip.Wrong, slip.Right, 1)
		lines[slip.Line-1] = right
		c.found = append(c.found, Finding{
			Kind: Slip, Space: spaceOfListing(l), Section: sectionOf(l), Listing: l.Number, Line: slip.Line,
			File: l.File, Have: strings.TrimSpace(was), Want: strings.TrimSpace(right), Note: slip.Reason,
			Fields: []Field{{"text", slip.Right, slip.Wrong}},
		})
	}
	if l.Number == 11 {
		c.found = append(c.found, Finding{
			Kind: Slip, Space: dump.ZtunnelSpace, Section: Proxy, Listing: l.Number, File: l.File, Line: 4,
			Have: `"cluster_name": "spiffe://cluster.local/ns/default/sa/sleep_to_http_productpage.default.svc.cluster.local_outbound_internal"`,
			Note: "the dump that the article shows had no cluster_name; its author added it, and the value is right",
		})
	}
	return c.swap.Replace(strings.Join(lines, "\n"))
}

func spaceOfListing(l *listing.Listing) string {
	if strings.HasPrefix(l.Host, "ztunnel") {
		return dump.ZtunnelSpace
	}
	return dump.HostSpace
}

func sectionOf(l *listing.Listing) Section {
	switch name := strings.Split(l.File, ".")[1]; {
	case l.Get != "":
		return Proxy
	case name == "iptables-save":
		return IPTables
	case name == "ip-rule":
		return IPRules
	case strings.HasPrefix(name, "table-"):
		return Routes
	}
	return Devices
}

func (c *articleComparison) unshown(l *listing.Listing, space, note string) {
	c.found = append(c.found, Finding{Kind: Unshown, Space: space, Section: sectionOf(l), Listing: l.Number, Place: l.Title(), Note: note})
}

// keep takes what a block says. Where the listing is an excerpt, what else the dump
// has was left out of it.
func (c *articleComparison) keep(l *listing.Listing, b block) {
	for _, f := range b.compare() {
		f.Listing = l.Number
		if f.Kind == Extra && !l.Whole {
			f.Kind, f.Note = Unshown, "the listing does not show it"
		}
		c.found = append(c.found, f)
	}
}

func (c *articleComparison) iptables(l *listing.Listing, s *space, text string) {
	if s.save == nil {
		c.unshown(l, s.name, "the dump does not have it")
		return
	}
	save, err := iptsave.Parse(l.File, text)
	if err != nil {
		c.unshown(l, s.name, err.Error())
		return
	}
	for _, t := range save.Tables {
		for _, chain := range t.Chains {
			var want []item
			for _, r := range chain.Rules {
				it := ruleItem(r, nil)
				it.spare = ruleOwner(r) == nobody && !strings.HasPrefix(l.Host, "ztunnel") || ruleOwner(r) == "kube-proxy"
				want = append(want, it)
			}
			if len(want) == 0 {
				continue
			}
			table := t.Name
			if table == "" {
				table = "nat"
			}
			var have []item
			if got := s.chain(table, chain.Name); got != nil {
				have = ruleItems(got.Rules)
			}
			c.keep(l, block{space: s.name, section: IPTables, place: table + "/" + chain.Name, file: s.file(s.kind), ordered: true, want: want, have: have})
		}
	}
}

func (c *articleComparison) ipRules(l *listing.Listing, s *space, text string) {
	want, err := iproute.ParseRules(l.File, text)
	if err != nil || s.Rules == nil {
		c.unshown(l, s.name, orMissing(err))
		return
	}
	b := block{space: s.name, section: IPRules, file: s.file(dump.KindRules)}
	for _, r := range want {
		b.want = append(b.want, ipRuleItem(r))
	}
	for _, r := range s.Rules {
		b.have = append(b.have, ipRuleItem(r))
	}
	c.keep(l, b)
}

func orMissing(err error) string {
	if err != nil {
		return err.Error()
	}
	return "the dump does not have it"
}

func (c *articleComparison) routes(l *listing.Listing, s *space, text, table string) {
	id, err := strconv.ParseUint(table, 10, 32)
	if err != nil {
		c.unshown(l, s.name, err.Error())
		return
	}
	want, err := iproute.ParseRoutes(l.File, text, uint32(id))
	if err != nil || s.Routes == nil || s.excerptTableRoutes(uint32(id)) {
		c.unshown(l, s.name, orMissing(err))
		return
	}
	b := block{space: s.name, section: Routes, place: "table " + table, file: s.file(dump.KindRoutes)}
	for _, r := range want {
		if !c.same && r.Dev == "istioin" && !c.routed()[r.Dst.Addr()] {
			continue // one of the article's pods
		}
		b.want = append(b.want, routeItem(r, nil))
	}
	for _, r := range s.Routes {
		if r.Table == uint32(id) && !r.IPv6 {
			b.have = append(b.have, routeItem(r, nil))
		}
	}
	c.keep(l, b)
}

func (c *articleComparison) links(l *listing.Listing, s *space, text string) {
	want, err := iproute.ParseLinks(l.File, text)
	if err != nil || s.Links == nil {
		c.unshown(l, s.name, orMissing(err))
		return
	}
	for _, w := range want {
		have := s.link(w.Name)
		b := block{space: s.name, section: Devices, place: w.Name, file: s.file(dump.KindLinks), want: []item{linkItem(w, nil)}}
		if have != nil {
			b.have = []item{linkItem(have, nil)}
		}
		if !c.same && (w.Name == "lo" || w.Name == "eth0") {
			continue
		}
		b.excerpt = have == nil && s.excerptLinks()
		c.keep(l, b)
	}
}

// json compares an entry of the config_dump, word by word but for what is free.
func (c *articleComparison) json(l *listing.Listing, s *space) {
	if !c.same {
		c.unshown(l, s.name, "the listing names the article's own pods; ambientctl xds diff compares other meshes' config_dumps")
		return
	}
	if len(s.ConfigDump) == 0 {
		c.unshown(l, s.name, "the dump does not have the config_dump")
		return
	}
	f := Finding{Kind: Equal, Space: s.name, Section: Proxy, Place: l.Find.Kind, Listing: l.Number, Want: l.Title(), Have: l.Title(),
		File: s.file(dump.KindConfigDump)}
	res := c.set.Compare(l, string(s.ConfigDump), nil)
	switch res.Status {
	case listing.Differs:
		f.Kind, f.Note = Changed, res.Detail
		if s.Partial[dump.KindConfigDump] != "" {
			f.Kind, f.Have = Unshown, ""
		}
	case listing.Failed:
		f.Kind, f.Have, f.Note = Unshown, "", res.Detail
	}
	c.found = append(c.found, f)
}
