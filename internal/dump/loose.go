// SPDX-License-Identifier: Apache-2.0

package dump

import (
	"cmp"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strings"

	"github.com/ambient22/ambient22/internal/dump/iptsave"
)

// looseText is one kind's text in a loose file.
type looseText struct {
	section
	scope
	file string
}

// looseNode is a node on its way from loose files.
type looseNode struct {
	node   *Node
	spaces map[string]*Netns
	// tables are the routing tables that routes without one were taken to be in, by
	// namespace.
	tables map[string][]uint32
	pieces map[string]*pieces
}

// loose sorts files that no dump.json describes: what each is says its text,
// whose it is its name, or where that does not, again its text.
func (t *tree) loose() ([]*Node, error) {
	var texts []looseText
	var strange []string
	for _, f := range t.files {
		parts, err := sections(f.Name, unquoted(f.Text))
		if err != nil {
			return nil, err
		}
		if len(parts) == 0 && strings.TrimSpace(f.Text) != "" {
			strange = append(strange, f.Name+": not read: nothing in it is recognised")
		}
		for _, s := range parts {
			whose := scopeOfName(f.Name)
			if whose.space == "" {
				whose.space = scopeOfWords(s.hint).space
			}
			texts = append(texts, looseText{section: s, scope: whose, file: f.Name})
			if s.strange > 0 {
				strange = append(strange, fmt.Sprintf("%s: line %d is not read: it is nothing known", f.Name, s.strange))
			}
		}
	}
	if len(texts) == 0 && slices.ContainsFunc(t.files, isTable) {
		return nil, errors.New("it is what iptables -L prints, which does not have all of a rule: iptables-save has, or iptables -S")
	}
	if len(texts) == 0 {
		return nil, errors.New("nothing of it is a dump: no iptables-save, ip rule, ip route, ip addr, ipset save, nft list ruleset, conntrack -L, sysctl or config_dump is recognised")
	}
	settle(texts)
	byNode := map[string]*looseNode{}
	var names []string
	for _, text := range texts {
		if byNode[text.node] == nil {
			byNode[text.node] = &looseNode{
				node: &Node{Name: t.nodeName(text.node), Loose: true}, spaces: map[string]*Netns{},
				tables: map[string][]uint32{}, pieces: map[string]*pieces{},
			}
			names = append(names, text.node)
		}
		if err := byNode[text.node].take(text); err != nil {
			return nil, err
		}
	}
	slices.Sort(names)
	var nodes []*Node
	for _, name := range names {
		n, err := byNode[name].finish()
		if err != nil {
			return nil, err
		}
		n.Gaps = append(n.Gaps, strange...)
		nodes = append(nodes, n)
	}
	return nodes, nil
}

// nodeName is a node's name: "node-a" of the letter, and of nothing the path's.
func (t *tree) nodeName(key string) string {
	switch {
	case key == "":
		return cmp.Or(t.name, "node")
	case isKey(key):
		return "node-" + key
	}
	return key
}

// settle decides where the names decide nothing. Texts of one node that could be
// anybody's belong to the host, unless all the others belong to one other.
func settle(texts []looseText) {
	decided := map[string]map[string]bool{}
	for i := range texts {
		t := &texts[i]
		if t.space == "" {
			t.space = spaceOfText(t.kind, t.text)
		}
		if t.space != "" && t.kind != KindConfigDump {
			if decided[t.node] == nil {
				decided[t.node] = map[string]bool{}
			}
			decided[t.node][t.space] = true
		}
	}
	for i := range texts {
		if t := &texts[i]; t.space == "" {
			t.space = HostSpace
			if others := decided[t.node]; len(others) == 1 {
				for space := range others {
					t.space = space
				}
			}
		}
	}
}

// take adds a text to the node.
func (n *looseNode) take(t looseText) error {
	f := File{Name: t.file, Text: t.text}
	switch t.kind {
	case kindIPv6:
		n.gap(t, "the rules of IPv6 are not read")
		return nil
	case KindLegacySave, KindNFTSave:
		return n.takeSave(n.space(t.space), t, f)
	case KindRoutes:
		return n.takeRoutes(n.space(t.space), t, f)
	case KindConfigDump:
		return n.takeJSON(t, f)
	}
	return n.space(t.space).take(t.kind, f, tableUnknown)
}

func (n *looseNode) space(name string) *Netns {
	if n.spaces[name] == nil {
		n.spaces[name] = newNetns(name)
		n.spaces[name].Loose = true
	}
	return n.spaces[name]
}

func (n *looseNode) gap(t looseText, reason string) {
	n.node.Gaps = append(n.node.Gaps, t.file+": "+reason)
}

// takeSave finds the variant. What does not say so is taken as legacy: versions up
// to 1.6 had no other.
func (n *looseNode) takeSave(ns *Netns, t looseText, f File) error {
	save, err := iptsave.Parse(f.Name, f.Text)
	if err != nil {
		return err
	}
	kind, slot := KindLegacySave, &ns.Legacy
	if isNFT(save, t) {
		kind, slot = KindNFTSave, &ns.NFT
	}
	ns.Files[kind] = append(ns.Files[kind], f.Name)
	if isExcerpt(save, f.Text) {
		ns.Partial[kind] = Excerpt
	}
	if *slot == nil {
		*slot = save
		return nil
	}
	for _, table := range save.Tables {
		if (*slot).Table(table.Name) != nil {
			n.gap(t, fmt.Sprintf("its table %s is left out: another file has that table, too", table.Name))
			continue
		}
		(*slot).Tables = append((*slot).Tables, table)
	}
	return nil
}

func isNFT(save *iptsave.Save, t looseText) bool {
	switch save.Variant {
	case "nf_tables":
		return true
	case "legacy":
		return false
	}
	said := split(t.hint)
	if !slices.Contains(said, "legacy") && !slices.Contains(said, "nft") {
		said = split(t.file)
	}
	return slices.Contains(said, "nft") && !slices.Contains(said, "legacy")
}

// isExcerpt tells whether somebody cut something out: an output of iptables-save
// has a header and an end for each table.
func isExcerpt(save *iptsave.Save, text string) bool {
	return strings.Contains(text, "/*") || strings.Count(text, "\nCOMMIT") < len(save.Tables)
}

// finish completes the node.
func (n *looseNode) finish() (*Node, error) {
	for space, ns := range n.spaces {
		if p := n.pieces[space]; p != nil {
			if err := p.finish(ns); err != nil {
				return nil, err
			}
		}
		n.tellTables(ns)
		tellDevices(ns)
	}
	n.node.place(n.spaces)
	for _, ns := range n.node.all() {
		for _, kind := range Kinds() {
			if part := ns.Partial[kind]; part != "" {
				n.node.Gaps = append(n.node.Gaps, Gap{Space: ns.Name, Kind: kind, Reason: part}.String())
			}
		}
	}
	return n.node, nil
}

func (n *Node) all() []*Netns {
	var all []*Netns
	for _, ns := range []*Netns{n.Host, n.Ztunnel} {
		if ns != nil {
			all = append(all, ns)
		}
	}
	return append(all, n.Pods...)
}

// tellDevices notes which devices a text of single ones has: every namespace has lo.
func tellDevices(ns *Netns) {
	if ns.lacks(KindLinks) {
		return
	}
	var names []string
	for _, l := range ns.Links {
		if l.Name == "lo" {
			return
		}
		names = append(names, l.Name)
	}
	ns.Partial[KindLinks] = "only " + strings.Join(names, ", ")
}

// baseName is what a path is called, without its ending.
func baseName(p string) string {
	if p == "-" {
		return ""
	}
	name := filepath.Base(filepath.Clean(p))
	if name == "." || name == "/" {
		return ""
	}
	for _, suffix := range []string{".gz", ".tgz", ".tar", ".txt", ".json"} {
		name = strings.TrimSuffix(name, suffix)
	}
	return name
}
