// SPDX-License-Identifier: Apache-2.0

package dump

import (
	"encoding/json"
	"slices"
	"strings"

	"github.com/ambient22/ambient22/internal/dump/conntrack"
	"github.com/ambient22/ambient22/internal/dump/iproute"
	"github.com/ambient22/ambient22/internal/dump/iptsave"
	"github.com/ambient22/ambient22/internal/dump/nft"
	"github.com/ambient22/ambient22/internal/dump/setsave"
	"github.com/ambient22/ambient22/internal/dump/sysctl"
)

// notTaken is why a kind is missing that an archive says nothing about.
const notTaken = "not in this dump"

// Parse parses an archive's texts. An error is a *syntax.Error that names the file.
func (a *Archive) Parse() (*Node, error) {
	n := &Node{Name: a.Header.Node, Taken: a.Header.Taken}
	spaces := map[string]*Netns{}
	for _, f := range a.Files {
		if f.Name == WorkloadsFile {
			n.Workloads = &Workloads{}
			if err := json.Unmarshal([]byte(f.Text), n.Workloads); err != nil {
				return nil, jsonError(f.Name, f.Text, err)
			}
			continue
		}
		space, kind, known := place(f.Name)
		if !known {
			continue
		}
		if spaces[space] == nil {
			spaces[space] = newNetns(space)
		}
		if kind == KindConfigDump && f.Truncated != "" {
			spaces[space].Missing[kind] = f.Truncated // a part of it is no JSON
			continue
		}
		if kind == KindRuleset && f.Truncated != "" {
			f.Text = wholeTables(f.Text)
		}
		if err := spaces[space].take(kind, f, tableUnknown); err != nil {
			return nil, err
		}
	}
	for _, g := range a.Header.Gaps {
		n.Gaps = append(n.Gaps, g.String())
		if ns := spaces[g.Space]; ns != nil && g.Kind != "" && ns.lacks(g.Kind) {
			ns.Missing[g.Kind] = g.Reason
		}
	}
	for _, f := range a.Files {
		if space, kind, known := place(f.Name); known && f.Truncated != "" {
			if !spaces[space].lacks(kind) {
				spaces[space].Partial[kind] = f.Truncated
			}
			n.Gaps = append(n.Gaps, Gap{Space: space, Kind: kind, Reason: f.Truncated}.String())
		}
	}
	n.place(spaces)
	return n, nil
}

// wholeTables is what of a cut off output of nft list ruleset can be read: a
// table ends with a brace that stands alone.
func wholeTables(text string) string {
	const end = "\n}\n"
	if at := strings.LastIndex(text, end); at >= 0 {
		return text[:at+len(end)]
	}
	return ""
}

// place sorts the namespaces into the node and says of all what they do not have.
func (n *Node) place(spaces map[string]*Netns) {
	n.Host, n.Ztunnel = spaces[HostSpace], spaces[ZtunnelSpace]
	for name, ns := range spaces {
		if name != HostSpace && name != ZtunnelSpace {
			n.Pods = append(n.Pods, ns)
		}
		for _, kind := range Kinds() {
			// Only a ztunnel has a configuration.
			if _, said := ns.Missing[kind]; !said && ns.lacks(kind) && (kind != KindConfigDump || ns == n.Ztunnel) {
				ns.Missing[kind] = notTaken
			}
		}
	}
	slices.SortFunc(n.Pods, func(a, b *Netns) int { return strings.Compare(a.Name, b.Name) })
}

func newNetns(name string) *Netns {
	return &Netns{Name: name, Missing: map[Kind]string{}, Partial: map[Kind]string{}, Files: map[Kind][]string{}}
}

// lacks tells that no file of that kind was there.
func (ns *Netns) lacks(k Kind) bool { return len(ns.Files[k]) == 0 }

// tableUnknown is given where routes say themselves which table they are in.
const tableUnknown = 0

// take parses a text and adds it to what is there of that kind. table is the
// routing table that routes without one are in; 0 is main.
func (ns *Netns) take(kind Kind, f File, table uint32) error {
	ns.Files[kind] = append(ns.Files[kind], f.Name)
	var err error
	switch kind {
	case KindNFTSave:
		ns.NFT, err = addSave(ns.NFT, f)
	case KindLegacySave:
		ns.Legacy, err = addSave(ns.Legacy, f)
	case KindRuleset:
		var set *nft.Ruleset
		if set, err = nft.Parse(f.Name, f.Text); err == nil {
			ns.Ruleset = addRuleset(ns.Ruleset, set)
		}
	case KindRules:
		ns.Rules, err = more(ns.Rules, f, iproute.ParseRules)
	case KindRoutes:
		ns.Routes, err = more(ns.Routes, f, func(file, text string) ([]*iproute.Route, error) {
			return iproute.ParseRoutes(file, text, table)
		})
	case KindLinks:
		ns.Links, err = more(ns.Links, f, iproute.ParseLinks)
	case KindSets:
		ns.Sets, err = more(ns.Sets, f, setsave.Parse)
	case KindConns:
		ns.Conns, err = more(ns.Conns, f, conntrack.Parse)
	case KindSysctls:
		err = ns.addSysctls(f)
	case KindConfigDump:
		if !json.Valid([]byte(f.Text)) {
			return jsonError(f.Name, f.Text, json.Unmarshal([]byte(f.Text), new(any)))
		}
		ns.ConfigDump = []byte(f.Text)
	}
	return err
}

func more[T any](old []T, f File, parse func(file, text string) ([]T, error)) ([]T, error) {
	list, err := parse(f.Name, f.Text)
	if err != nil {
		return old, err
	}
	if old == nil {
		return list, nil
	}
	return append(old, list...), nil
}

// addSave joins the tables of one more file to a variant's.
func addSave(old *iptsave.Save, f File) (*iptsave.Save, error) {
	save, err := iptsave.Parse(f.Name, f.Text)
	if err != nil || old == nil {
		return save, err
	}
	old.Tables = append(old.Tables, save.Tables...)
	old.Notes = append(old.Notes, save.Notes...)
	return old, nil
}

func addRuleset(old, set *nft.Ruleset) *nft.Ruleset {
	if old == nil {
		return set
	}
	old.Tables = append(old.Tables, set.Tables...)
	return old
}

func (ns *Netns) addSysctls(f File) error {
	values, err := sysctl.Parse(f.Name, f.Text)
	if err != nil {
		return err
	}
	if ns.Sysctls == nil {
		ns.Sysctls = map[string]string{}
	}
	for _, v := range values {
		ns.Sysctls[v.Key] = v.Value
	}
	return nil
}
