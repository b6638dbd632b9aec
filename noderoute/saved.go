// SPDX-License-Identifier: Apache-2.0

package noderoute

import (
	"slices"
	"strings"
)

// savedTable is one table of iptables-save's output.
type savedTable struct {
	name   string
	chains []savedChain
	// unreadable tells that the table holds what only nft can print: iptables
	// writes into it and does not find again what it wrote.
	unreadable bool
}

// savedChain is a chain with its rules, as printed after "-A CHAIN ".
type savedChain struct {
	name    string
	builtin bool // it has a policy
	rules   []string
}

func (t *savedTable) chain(name string) *savedChain {
	if t == nil {
		return nil
	}
	i := slices.IndexFunc(t.chains, func(c savedChain) bool { return c.name == name })
	if i < 0 {
		return nil
	}
	return &t.chains[i]
}

// saved is what iptables-save printed, by table.
type saved map[string]*savedTable

// rules counts the rules of all tables.
func (s saved) rules() int {
	n := 0
	for _, t := range s {
		for _, c := range t.chains {
			n += len(c.rules)
		}
	}
	return n
}

// parseSave reads the output of iptables-save. Of its comments only the one about
// a table that it cannot print counts; others warn of the other variant's tables.
func parseSave(text string) saved {
	out := saved{}
	var table *savedTable
	for line := range strings.Lines(text) {
		line = strings.TrimRight(line, "\n")
		switch {
		case strings.HasPrefix(line, "# Table `") && strings.Contains(line, "' is incompatible"):
			name, _, _ := strings.Cut(line[len("# Table `"):], "'")
			out[name] = &savedTable{name: name, unreadable: true}
		case line == "" || line[0] == '#' || line == "COMMIT":
		case line[0] == '*':
			table = &savedTable{name: line[1:]}
			out[table.name] = table
		case table == nil:
		case line[0] == ':':
			words := strings.Fields(line[1:])
			if len(words) >= 2 {
				table.chains = append(table.chains, savedChain{name: words[0], builtin: words[1] != "-"})
			}
		default:
			table.addRule(line)
		}
	}
	return out
}

// addRule takes "-A CHAIN rule", with packet counters in front of it or not.
func (t *savedTable) addRule(line string) {
	if line[0] == '[' {
		_, line, _ = strings.Cut(line, "] ")
	}
	rest, ok := strings.CutPrefix(line, "-A ")
	if !ok {
		return
	}
	name, rule, _ := strings.Cut(rest, " ")
	if c := t.chain(name); c != nil {
		c.rules = append(c.rules, rule)
	}
}

// sameRule compares a planned rule with a printed one. Some iptables versions
// print a protocol's number and leave the match of that name implicit.
func sameRule(planned, printed string) bool {
	if planned == printed {
		return true
	}
	return canonical(planned) == canonical(printed)
}

func canonical(rule string) string {
	words := strings.Fields(rule)
	var out []string
	for i := 0; i < len(words); i++ {
		w := words[i]
		if i > 0 && words[i-1] == "-p" {
			w = map[string]string{"6": "tcp", "17": "udp"}[w]
			if w == "" {
				w = words[i]
			}
		}
		if w == "-m" && i+1 < len(words) && (words[i+1] == "tcp" || words[i+1] == "udp") {
			i++
			continue
		}
		out = append(out, w)
	}
	return strings.Join(out, " ")
}

func sameRules(planned, printed []string) bool {
	return slices.EqualFunc(planned, printed, sameRule)
}
