// SPDX-License-Identifier: Apache-2.0

package nft

import (
	"strconv"
	"strings"

	"github.com/ambient22/ambient22/internal/dump/syntax"
)

// base reads "type filter hook prerouting device d0 priority mangle - 5; policy accept;".
func (c *Chain) base(l syntax.Line) error {
	c.hookLine = l.Text
	begin := len(indent(l.Text))
	statements := strings.Split(strings.TrimRight(l.Text[begin:], " \t\r"), ";")
	words := strings.Fields(statements[0])
	kind, hook := strings.Index(l.Text, "type "), strings.Index(l.Text, " hook ")
	if len(words) < 4 || words[2] != "hook" {
		return l.Errorf(kind, "type, hook and priority are expected")
	}
	c.Type, c.Hook = words[1], words[3]
	at := indexOf(words, "priority")
	if at < 4 || at+1 >= len(words) {
		return l.Errorf(hook+1, "the priority is missing")
	}
	n, ok := priority(words[at+1:], c.Hook)
	if !ok {
		return l.Errorf(strings.Index(l.Text, " priority ")+1, "%q is no priority", strings.Join(words[at+1:], " "))
	}
	c.Priority, c.Devices = n, strings.Join(words[4:at], " ")
	for _, s := range statements[1:] {
		if policy, ok := strings.CutPrefix(strings.TrimSpace(s), "policy "); ok {
			c.Policy = strings.TrimSpace(policy)
		}
	}
	return nil
}

func indexOf(words []string, word string) int {
	for i, w := range words {
		if w == word {
			return i
		}
	}
	return -1
}

// priority reads "-150", "mangle", "filter - 5" or "filter + 10".
func priority(words []string, hook string) (int, bool) {
	n, err := strconv.Atoi(words[0])
	if err != nil {
		var ok bool
		if n, ok = named(words[0], hook); !ok {
			return 0, false
		}
	}
	switch len(words) {
	case 1:
		return n, true
	case 3:
		offset, err := strconv.Atoi(words[2])
		if words[1] == "-" {
			offset = -offset
		}
		return n + offset, err == nil && (words[1] == "+" || words[1] == "-")
	}
	return 0, false
}

// named is a priority by its name, as nft(8) lists them. In the family bridge some
// names have other numbers; its tables are kept and never followed.
func named(name, hook string) (int, bool) {
	switch name {
	case "raw":
		return -300, true
	case "mangle":
		return -150, true
	case "dstnat":
		return -100, true
	case "filter":
		return 0, true
	case "security":
		return 50, true
	case "srcnat":
		return 100, true
	case "out":
		return 100, hook == "output"
	}
	return 0, false
}

// managed tells whether iptables-nft manages a table: nft warns of it in the lines
// before, or it has the name and the chains of one of iptables' tables.
func managed(before string, t *Table) bool {
	if strings.Contains(before, "table "+t.Family+" "+t.Name+" is managed by iptables-nft") {
		return true
	}
	if t.Family != "ip" && t.Family != "ip6" {
		return false
	}
	switch t.Name {
	case "filter", "nat", "mangle", "raw", "security":
	default:
		return false
	}
	for _, c := range t.Chains {
		if c.Hook != "" && c.Name != strings.ToUpper(c.Hook) {
			return false
		}
	}
	return len(t.Chains) > 0
}
