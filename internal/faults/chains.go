// SPDX-License-Identifier: Apache-2.0

package faults

import (
	"fmt"
	"regexp"
	"slices"
	"strings"

	"github.com/ambient22/ambient22/internal/dump"
	"github.com/ambient22/ambient22/internal/nodediff"
)

// chainLine is one rule of iptables in a text.
type chainLine struct {
	table, chain string
	at           int    // from 1
	rule         string // after "-A CHAIN "
}

// saveKind is the variant of iptables that has the data path's rules.
func saveKind(a *dump.Archive, space string) dump.Kind {
	for _, kind := range []dump.Kind{dump.KindNFTSave, dump.KindLegacySave} {
		for _, l := range readChains(text(a, space, kind)) {
			if ours(l, space) {
				return kind
			}
		}
	}
	return dump.KindLegacySave
}

// readChains reads the rules of an iptables-save, without their counters.
func readChains(text string) []chainLine {
	var out []chainLine
	table, counts := "", map[string]int{}
	for line := range strings.SplitSeq(text, "\n") {
		if name, is := strings.CutPrefix(line, "*"); is {
			table = name
			clear(counts)
		}
		if chain, rule, is := splitRule(line); is {
			counts[chain]++
			out = append(out, chainLine{table, chain, counts[chain], rule})
		}
	}
	return out
}

// splitRule takes a line of iptables-save apart.
func splitRule(line string) (chain, rule string, is bool) {
	if strings.HasPrefix(line, "[") {
		_, line, _ = strings.Cut(line, "] ")
	}
	rest, is := strings.CutPrefix(line, "-A ")
	if !is {
		return "", "", false
	}
	chain, rule, is = strings.Cut(rest, " ")
	return chain, rule, is
}

// ours tells whether a rule is the data path's.
func ours(l chainLine, space string) bool {
	switch {
	case strings.HasPrefix(l.chain, "ztunnel-"), strings.HasPrefix(l.rule, "-j ztunnel-"):
		return true
	case space == dump.ZtunnelSpace:
		return !strings.Contains(l.rule, " LOG ") && !strings.HasPrefix(l.rule, "-j LOG")
	}
	return false
}

func chains(a *dump.Archive, space string) ([]Fault, error) {
	kind := saveKind(a, space)
	all := readChains(text(a, space, kind))
	var out []Fault
	for _, l := range all {
		if !ours(l, space) {
			continue
		}
		length := 0
		for _, o := range all {
			if o.table == l.table && o.chain == l.chain {
				length++
			}
		}
		out = append(out, deleted(l, space, kind))
		if l.at == 1 || length > 2 { // of two rules, one moved is the other moved
			out = append(out, moved(l, length, space, kind))
		}
		for _, c := range changes(l.rule) {
			out = append(out, changed(l, c, space, kind))
		}
	}
	return out, nil
}

func chainFault(l chainLine, space string, kind dump.Kind, edit func([]chainLine) []chainLine) Fault {
	return Fault{
		Space: space, Place: l.table + "/" + l.chain, Section: nodediff.IPTables, Line: "-A " + l.chain + " " + l.rule, At: l.at,
		edits: map[dump.Kind]func(string) string{kind: func(text string) string { return rewrite(text, l.table, l.chain, edit) }},
	}
}

// rewrite puts other rules in the place of a chain's.
func rewrite(text, table, chain string, edit func([]chainLine) []chainLine) string {
	var before []chainLine
	for _, l := range readChains(text) {
		if l.table == table && l.chain == chain {
			before = append(before, l)
		}
	}
	after := edit(before)
	var out []string
	current, done := "", false
	write := func() {
		if !done {
			for _, l := range after {
				out = append(out, "-A "+chain+" "+l.rule)
			}
			done = true
		}
	}
	for line := range strings.SplitSeq(text, "\n") {
		if name, is := strings.CutPrefix(line, "*"); is {
			current = name
		}
		c, _, is := splitRule(line)
		if current == table && is && c == chain {
			write()
			continue
		}
		out = append(out, line)
	}
	return strings.Join(out, "\n")
}

func deleted(l chainLine, space string, kind dump.Kind) Fault {
	f := chainFault(l, space, kind, func(rules []chainLine) []chainLine {
		return slices.Delete(slices.Clone(rules), l.at-1, l.at)
	})
	f.What, f.Kind = "deleted", nodediff.Missing
	f.script = fmt.Sprintf("$IPT -t %s -D %s %d", l.table, l.chain, l.at)
	return f
}

// moved puts a rule at its chain's end, or the last one at its beginning. A jump that
// is alone in its chain gets behind a rule of somebody else, which accepts.
func moved(l chainLine, length int, space string, kind dump.Kind) Fault {
	if length == 1 {
		return overtaken(l, space, kind)
	}
	to := length
	if l.at == length {
		to = 1
	}
	f := chainFault(l, space, kind, func(rules []chainLine) []chainLine {
		rest := slices.Delete(slices.Clone(rules), l.at-1, l.at)
		return slices.Insert(rest, to-1, l)
	})
	f.What, f.Kind = fmt.Sprintf("moved to place %d", to), nodediff.Moved
	f.script = fmt.Sprintf("$IPT -t %s -D %s %d && $IPT -t %s -I %s %d %s", l.table, l.chain, l.at, l.table, l.chain, to, l.rule)
	return f
}

// somebody is a rule of somebody else, in front of ours.
const somebody = `-p tcp -m comment --comment "somebody else" -j ACCEPT`

func overtaken(l chainLine, space string, kind dump.Kind) Fault {
	f := chainFault(l, space, kind, func(rules []chainLine) []chainLine {
		return slices.Insert(slices.Clone(rules), 0, chainLine{rule: somebody})
	})
	f.What, f.Kind = "behind somebody else's rule that accepts TCP", nodediff.Moved
	if strings.HasPrefix(l.chain, "ztunnel-") {
		f.Kind = nodediff.Extra // a chain of ours has no room for others
		f.Line = "-A " + l.chain + " " + somebody
	}
	f.script = fmt.Sprintf("$IPT -t %s -I %s 1 %s", l.table, l.chain, somebody)
	return f
}

// change is another value in a rule.
type change struct {
	field, from, to string
	rule            string
}

func changed(l chainLine, c change, space string, kind dump.Kind) Fault {
	f := chainFault(l, space, kind, func(rules []chainLine) []chainLine {
		out := slices.Clone(rules)
		out[l.at-1].rule = c.rule
		return out
	})
	f.What, f.Kind, f.Field = fmt.Sprintf("%s %s → %s", c.field, c.from, c.to), nodediff.Changed, c.field
	f.script = fmt.Sprintf("$IPT -t %s -R %s %d %s", l.table, l.chain, l.at, c.rule)
	return f
}

// mutation is a place in a rule where another value can stand. The expression's one
// group is the value; other lists the values to take the first of that is another.
type mutation struct {
	field string
	where *regexp.Regexp
	other []string
}

func mutations() []mutation {
	m := func(field, where string, other ...string) mutation {
		return mutation{field, regexp.MustCompile(where), other}
	}
	return []mutation{
		m("mark", `-m mark (?:! )?--mark (0x[0-9a-f]+)/`, "0x8"),
		m("mark mask", `-m mark (?:! )?--mark 0x[0-9a-f]+/(0x[0-9a-f]+)`, "0xfff"),
		m("connmark", `-m connmark (?:! )?--mark (0x[0-9a-f]+)/`, "0x8"),
		m("connmark mask", `-m connmark (?:! )?--mark 0x[0-9a-f]+/(0x[0-9a-f]+)`, "0xfff"),
		m("set-xmark", `--set-xmark (0x[0-9a-f]+)/`, "0x8"),
		m("set-xmark mask", `--set-xmark 0x[0-9a-f]+/(0x[0-9a-f]+)`, "0xffffffff", "0xfff"),
		m("nfmask", `--nfmask (0x[0-9a-f]+)`, "0x2"),
		m("ctmask", `--ctmask (0x[0-9a-f]+)`, "0x2"),
		m("-i", `(?:^|[^!] )-i ([^ ]+)`, "eth9"),
		m("-s", `-s ([0-9.]+)/32`, "10.4.99.99"),
		m("-d", `-d ([0-9.]+)/32`, "10.4.99.99"),
		m("--dport", `--dport ([0-9]+)`, "9999"),
		m("set direction", `--match-set [^ ]+ (src)`, "dst"),
		m("on-port", `--on-port ([0-9]+)`, "15099"),
		m("tproxy-mark", `--tproxy-mark (0x[0-9a-f]+)/`, "0x8"),
		m("tproxy-mark mask", `--tproxy-mark 0x[0-9a-f]+/(0x[0-9a-f]+)`, "0xf"),
		m("to", `--to-ports ([0-9]+)`, "15099"),
		m("target", `-j (RETURN)$`, "ACCEPT"),
		m("target", `-j (ACCEPT)$`, "RETURN"),
	}
}

func changes(rule string) []change {
	var out []change
	for _, m := range mutations() {
		at := m.where.FindStringSubmatchIndex(rule)
		if at == nil {
			continue
		}
		from := rule[at[2]:at[3]]
		for _, to := range m.other {
			if to == from {
				continue
			}
			out = append(out, change{m.field, from, to, rule[:at[2]] + to + rule[at[3]:]})
			break
		}
	}
	return out
}
