// SPDX-License-Identifier: Apache-2.0

package noderoute

import (
	"fmt"
	"slices"
	"strings"
)

// tableChange is the part of an iptables-restore input that changes one table.
type tableChange struct {
	table string
	lines []string // what stands between "*table" and "COMMIT"
	words []string // the same for people, one line per chain
}

func (c *tableChange) empty() bool { return c == nil || len(c.lines) == 0 }

// diffTable compares this project's part of a table with what is there. Only
// chains that differ are written; foreign rules stay where they are. have ==
// nil means that the table does not exist.
func diffTable(side Side, want Table, have *savedTable) tableChange {
	c := tableChange{table: want.Name}
	for _, chain := range want.Own {
		is := have.chain(chain.Name)
		if is != nil && sameRules(chain.Rules, is.rules) {
			continue
		}
		// Declaring an own chain empties it; the commit swaps the whole table
		// at once, so that no packet sees it empty.
		c.lines = append(c.lines, fmt.Sprintf(":%s - [0:0]", chain.Name))
		for _, r := range chain.Rules {
			c.lines = append(c.lines, "-A "+chain.Name+" "+r)
		}
		c.words = append(c.words, fmt.Sprintf("iptables -t %s: write chain %s (%d rules)", want.Name, chain.Name, len(chain.Rules)))
	}
	for _, builtin := range builtins(want, have) {
		c.head(side, builtin, want, have)
	}
	c.stale(side, want, have)
	return c
}

// builtins are the chains whose head may have to change, in the plan's order
// and then in the kernel's.
func builtins(want Table, have *savedTable) []string {
	var names []string
	for _, h := range want.Head {
		names = append(names, h.Name)
	}
	if have != nil {
		for _, c := range have.chains {
			if c.builtin && !slices.Contains(names, c.name) {
				names = append(names, c.name)
			}
		}
	}
	return names
}

// head puts our rules first in a built-in chain, in order and once each.
func (c *tableChange) head(side Side, builtin string, want Table, have *savedTable) {
	var rules []string
	if i := slices.IndexFunc(want.Head, func(h Chain) bool { return h.Name == builtin }); i >= 0 {
		rules = want.Head[i].Rules
	}
	var present []string
	if is := have.chain(builtin); is != nil {
		present = is.rules
	}
	var ours []string
	for _, r := range present {
		if isOurs(side, want.Name, builtin, r) {
			ours = append(ours, r)
		}
	}
	first := present[:min(len(rules), len(present))]
	if len(ours) == len(rules) && sameRules(rules, first) {
		return
	}
	for _, r := range ours {
		c.lines = append(c.lines, "-D "+builtin+" "+r)
	}
	for i, r := range rules {
		c.lines = append(c.lines, fmt.Sprintf("-I %s %d %s", builtin, i+1, r))
	}
	c.words = append(c.words, fmt.Sprintf("iptables -t %s: %s our %d rules at the head of %s", want.Name, verb(len(ours), len(rules)), max(len(ours), len(rules)), builtin))
}

func verb(had, want int) string {
	switch {
	case want == 0:
		return "remove"
	case had == 0:
		return "put"
	}
	return "repair"
}

// stale empties and deletes chains of ours that are not wanted in this table.
func (c *tableChange) stale(side Side, want Table, have *savedTable) {
	if have == nil {
		return
	}
	var flush, del []string
	for _, chain := range have.chains {
		wanted := slices.ContainsFunc(want.Own, func(o Chain) bool { return o.Name == chain.name })
		if wanted || chain.builtin || !ownChain(side, chain.name) {
			continue
		}
		flush = append(flush, "-F "+chain.name)
		del = append(del, "-X "+chain.name)
		c.words = append(c.words, fmt.Sprintf("iptables -t %s: delete chain %s", want.Name, chain.name))
	}
	c.lines = append(append(c.lines, flush...), del...)
}

// ownChain tells whether a chain is ours: on the node by its name, in the pod
// there are none.
func ownChain(side Side, name string) bool {
	builtin, ok := strings.CutPrefix(name, chainPrefix)
	return ok && side == Host && isBuiltin(builtin)
}

// isBuiltin knows the names of iptables' own chains.
func isBuiltin(name string) bool {
	switch name {
	case "PREROUTING", "INPUT", "FORWARD", "OUTPUT", "POSTROUTING":
		return true
	}
	return false
}

// isOurs tells whether a rule in a built-in chain was put there by this
// project, with whatever parameters: on the node a jump to an own chain, in
// the pod a rule whose shape nobody else's has.
func isOurs(side Side, table, chain, rule string) bool {
	words := strings.Fields(rule)
	if side == Host {
		for i := 0; i+1 < len(words); i++ {
			if (words[i] == "-j" || words[i] == "-g") && ownChain(side, words[i+1]) {
				return true
			}
		}
		return false
	}
	has := func(parts ...string) bool {
		for _, p := range parts {
			if !strings.Contains(" "+rule+" ", " "+p+" ") {
				return false
			}
		}
		return true
	}
	switch {
	case table == "mangle" && chain == "PREROUTING":
		return strings.HasPrefix(rule, `-j LOG --log-prefix "mangle pre [ `) ||
			has("-i "+PodDeviceInbound, "-j TPROXY") || has("-i "+PodDeviceOutbound, "-j TPROXY") ||
			has("! -d", "-i "+podInterface, fmt.Sprintf("-j MARK --set-xmark %s", mask(OriginalSrcReplyMark, PodMarkMask)))
	case table == "nat" && chain == "OUTPUT":
		return has(fmt.Sprintf("--dport %d -j REDIRECT --to-ports", PortNodeLocal))
	}
	return false
}

// restoreInput is what one iptables-restore process reads: each table ends in
// its own atomic commit.
func restoreInput(changes []tableChange) string {
	var s strings.Builder
	for _, c := range changes {
		if c.empty() {
			continue
		}
		fmt.Fprintf(&s, "*%s\n%s\nCOMMIT\n", c.table, strings.Join(c.lines, "\n"))
	}
	return s.String()
}
