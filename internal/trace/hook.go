// SPDX-License-Identifier: Apache-2.0

package trace

import (
	"fmt"

	"github.com/ambient22/ambient22/internal/dump/nft"
)

// stage is one place in a hook: a table's chains, or connection tracking.
type stage struct {
	kind  stageKind
	table string
	// legacy and nft are the variants' chains; nil where there is none.
	legacy, nft *chain
	only        variant // of a table whose place the variants do not agree on
}

type variant uint8

const (
	bothVariants variant = iota
	legacyOnly
	nftOnly
)

type stageKind uint8

const (
	stageTable stageKind = iota
	stageMangleOut
	stageTrack
	stageNAT
	stageConfirm
)

// hookNames are the built-in chains' names.
var hookNames = [...]string{"PREROUTING", "INPUT", "FORWARD", "OUTPUT", "POSTROUTING"}

// String is the built-in chain's name.
func (h Hook) String() string { return hookNames[h] }

// plans are the hooks' stages in the order of their priorities: raw -300,
// connection tracking -200, mangle -150, DNAT -100, filter 0, security 50 (150 in the
// nft variant), SNAT 100, confirmation last.
var plans = [...][]stage{
	Prerouting:  {{table: "raw"}, {kind: stageTrack}, {table: "mangle"}, {kind: stageNAT, table: "nat"}},
	Input:       {{table: "mangle"}, {table: "filter"}, {table: "security", only: legacyOnly}, {kind: stageNAT, table: "nat"}, {table: "security", only: nftOnly}, {kind: stageConfirm}},
	Forward:     {{table: "mangle"}, {table: "filter"}, {table: "security"}},
	Output:      {{table: "raw"}, {kind: stageTrack}, {kind: stageMangleOut, table: "mangle"}, {kind: stageNAT, table: "nat"}, {table: "filter"}, {table: "security"}},
	Postrouting: {{table: "mangle"}, {kind: stageNAT, table: "nat"}, {kind: stageConfirm}},
}

func (s *Space) compileHooks(legacy, nft tables) {
	for hook, plan := range plans {
		for _, st := range plan {
			if st.table != "" {
				st.legacy = legacy[st.table][hookNames[hook]]
				st.nft = nft[st.table][hookNames[hook]]
				switch st.only {
				case legacyOnly:
					st.nft = nil
				case nftOnly:
					st.legacy = nil
				}
				if st.kind == stageTable && st.legacy == nil && st.nft == nil {
					continue
				}
			}
			s.hooks[hook] = append(s.hooks[hook], st)
		}
	}
}

// foreignChains are nft's own base chains, whose rules are not followed.
func (s *Space) foreignChains(set *nft.Ruleset) {
	if set == nil {
		return
	}
	for _, t := range set.Tables {
		if t.Iptables || t.Family != "ip" && t.Family != "inet" && t.Family != "netdev" {
			continue
		}
		for _, c := range t.Chains {
			for hook, name := range [...]string{"prerouting", "input", "forward", "output", "postrouting"} {
				if c.Hook == name && (len(c.Rules) > 0 || c.Policy == "drop") {
					s.foreign[hook] = append(s.foreign[hook], fmt.Sprintf(
						"nft's chain %s in table %s %s (hook %s) is not followed", c.Name, t.Family, t.Name, c.Hook))
				}
			}
			if c.Hook == "ingress" && len(c.Rules) > 0 {
				s.foreign[Prerouting] = append(s.foreign[Prerouting], fmt.Sprintf(
					"nft's chain %s in table %s %s (hook ingress) is not followed", c.Name, t.Family, t.Name))
			}
		}
	}
}

// runHook passes the packet through a hook; out is the device as the hook's
// conditions see it. It tells whether the packet goes on.
func (r *run) runHook(hook Hook, out string) bool {
	r.hook, r.hookOut, r.h.out = hook, out, out
	if r.chainsLacking() {
		return false
	}
	for _, text := range r.s.foreign[hook] {
		r.doubt(text)
	}
	stages := r.s.hooks[hook]
	for i := range stages {
		st := &stages[i]
		r.table = st.table
		switch st.kind {
		case stageTable:
			r.runTable(st)
		case stageMangleOut:
			r.mangleOutput(st)
		case stageTrack:
			r.track()
		case stageNAT:
			r.natStage(st)
		case stageConfirm:
			r.confirm()
		}
		if r.done {
			return false
		}
	}
	r.table = ""
	return true
}

// mangleOutput is mangle's chain OUTPUT: what changes the mark, the TOS or an
// address there is routed again.
func (r *run) mangleOutput(st *stage) {
	if st.legacy == nil && st.nft == nil {
		return
	}
	before := r.h
	r.runTable(st)
	if !r.done && (r.h.mark != before.mark || r.h.tos != before.tos || r.h.src != before.src || r.h.dst != before.dst) {
		r.reroute("mangle changed the mark: the way out is looked up again")
	}
}

func (r *run) natStage(st *stage) {
	before := r.h
	r.natHook(st)
	if r.done {
		return
	}
	switch {
	case r.hook == Prerouting && r.h.dst != before.dst:
		r.looped = false // a packet that came back through lo is routed again
	case r.hook == Output && r.tracked && r.redirected():
		r.reroute("NAT changed the destination: the way out is looked up again")
	}
}

// redirected tells that packets of this direction go to another address than they
// were sent to.
func (r *run) redirected() bool {
	if r.reply {
		return r.ct.reply.dst != r.ct.orig.src
	}
	return r.ct.orig.dst != r.ct.reply.src
}

// runTable passes the packet through one table's chain of the hook, in both
// variants where both have one.
func (r *run) runTable(st *stage) {
	first, second := st.legacy, st.nft
	if first != nil && second != nil && len(first.rules) > 0 && len(second.rules) > 0 && r.nftFirst(st) {
		first, second = second, first
	}
	r.runBase(st, first)
	// NAT that the first variant decided on is not decided again.
	if st.kind != stageNAT || !r.natDone(r.hook.manip()) {
		r.runBase(st, second)
	}
}

func (r *run) runBase(st *stage, base *chain) {
	if base == nil || r.done {
		return
	}
	if r.record {
		s := r.step(StepHook)
		s.Chain = base.name
		if base == st.nft && st.legacy != nil {
			s.Note = "the nf_tables variant"
		}
	}
	r.walkChain(base)
}

// nftFirst decides the order of the two variants at one hook. The later registered
// comes first, which no dump tells; mostly it makes no difference.
func (r *run) nftFirst(st *stage) bool {
	one := r.rehearse(st, st.legacy, st.nft)
	other := r.rehearse(st, st.nft, st.legacy)
	if one == other && !one.hasOpen {
		return false
	}
	pick, _ := r.decide(Choice{Kind: ChoiceOrder, N: 2})
	return pick == 1
}

// rehearse tells what two chains do, one after the other, and takes it back.
func (r *run) rehearse(st *stage, first, second *chain) state {
	before, record, doubts, counted := r.state, r.record, len(r.w.Doubt), len(r.counted)
	r.record, r.blind = false, true
	r.runBase(st, first)
	r.runBase(st, second)
	after := r.state
	r.state, r.record, r.blind = before, record, false
	r.w.Doubt, r.counted = r.w.Doubt[:doubts], r.counted[:counted]
	return after
}
