// SPDX-License-Identifier: Apache-2.0

package noderoute

import (
	"net/netip"
	"slices"

	"golang.org/x/sys/unix"
)

// lookAgain corrects answers that are not what a skipped packet's route is once
// the ip rules are whole. Where the skip rule is missing or leads nowhere, our own
// tables answer, and say that a pod is reached through the tunnel; or somebody's
// that a skipped packet jumps over. In their stead the main table is searched.
// Where nothing is damaged, nothing is listed here.
func (s *session) lookAgain(answers map[netip.Addr]rawRoute) error {
	var odd []netip.Addr
	for a, r := range answers {
		if r.table != tableMain && r.table != unix.RT_TABLE_LOCAL {
			odd = append(odd, a)
		}
	}
	if len(odd) == 0 {
		return nil
	}
	rules, err := s.listRules()
	if err != nil {
		return err
	}
	ways := skipWays(rules)
	odd = slices.DeleteFunc(odd, func(a netip.Addr) bool { return ways.lead(answers[a]) })
	if len(odd) == 0 {
		return nil
	}
	routes, err := s.rawRoutes(tableMain)
	if err != nil {
		return err
	}
	table := prefixes(routes)
	for _, a := range odd {
		answers[a] = table.lookup(a)
	}
	return nil
}

// ways is how skipped packets get past our rules.
type ways struct {
	skipped bool            // the skip rule is there and leads to the main table
	before  map[uint32]bool // tables that somebody's rules before ours may look into
}

func skipWays(rules []listedRule) ways {
	w := ways{before: map[uint32]bool{}}
	skip, aim := false, false
	for _, r := range rules {
		skip = skip || !r.other && r.Rule == skipRule()
		aim = aim || !r.other && r.Rule == Rule{Priority: priorityMain, Table: tableMain}
		if r.Priority < PrioritySkip && !r.picky && (r.other || SkipMark&r.Mask == r.Mark) {
			w.before[r.Table] = true
		}
	}
	w.skipped = skip && aim // a jump to no rule is none
	return w
}

// lead tells whether the rules lead a skipped packet to this route, of a table that
// is neither the main nor the local one, or to none.
func (w ways) lead(r rawRoute) bool {
	if r.table >= TableInbound && r.table <= tableLast {
		return false // whoever's rule led there: it is where captured packets go
	}
	return w.skipped || r.table != 0 && w.before[r.table]
}

// prefixTable is one routing table by destinations.
type prefixTable map[netip.Prefix]rawRoute

func prefixes(routes []rawRoute) prefixTable {
	t := make(prefixTable, len(routes))
	for _, r := range routes {
		if r.tos != 0 || r.flags&unix.RTNH_F_DEAD != 0 {
			continue // not for packets without it; not while its device is down
		}
		if best, is := t[r.dst]; !is || r.metric < best.metric {
			t[r.dst] = r
		}
	}
	return t
}

// lookup finds the route to an address as the kernel does: that of the longest
// prefix, and of these the one with the smallest metric.
func (t prefixTable) lookup(a netip.Addr) rawRoute {
	for bits := a.BitLen(); bits >= 0; bits-- {
		if r, is := t[netip.PrefixFrom(a, bits).Masked()]; is {
			return r
		}
	}
	return rawRoute{}
}
