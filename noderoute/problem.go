// SPDX-License-Identifier: Apache-2.0

package noderoute

import (
	"fmt"
	"slices"
	"strings"

	"github.com/ambient22/ambient22/geneve"
)

// Problem is something that stands in the data path's way.
type Problem struct {
	What   string // what is wrong
	Where  string // the object, as its own tool would name it
	WayOut string // what a person can do
	// Blocking tells that the data path cannot work with it; the others make
	// parts of it fail or are worth a look.
	Blocking bool
	// Passing tells that a blocking one may go by itself: when a node has started
	// again, the API server for a while names pods by addresses of before.
	Passing bool
}

// String is the problem in one line.
func (p Problem) String() string {
	return fmt.Sprintf("%s: %s (%s)", p.Where, p.What, p.WayOut)
}

// Blocking picks the problems that the data path cannot work with.
func Blocking(problems []Problem) []Problem {
	var out []Problem
	for _, p := range problems {
		if p.Blocking {
			out = append(out, p)
		}
	}
	return out
}

// ObstacleError says that nothing was written because of others' objects.
type ObstacleError struct{ Problems []Problem }

// Error names all obstacles.
func (e *ObstacleError) Error() string {
	var lines []string
	for _, p := range e.Problems {
		lines = append(lines, p.String())
	}
	return "refusing to write beside what others put there: " + strings.Join(lines, "; ")
}

// obstacles are foreign objects where a plan's are to be.
func obstacles(p Plan, l *listing) []Problem {
	var out []Problem
	for _, link := range geneve.Foreign(p.Devices, l.links) {
		out = append(out, Problem{
			What:     fmt.Sprintf("a device of kind %q has this name", link.Kind),
			Where:    "ip link show " + link.Name,
			WayOut:   "rename or delete it",
			Blocking: true,
		})
	}
	if l.set != nil && !l.set.Ours() {
		out = append(out, Problem{
			What:     fmt.Sprintf("a set of type %s, family %s has this name", l.set.Type, l.set.Family),
			Where:    "ipset list " + l.set.Name,
			WayOut:   "destroy it",
			Blocking: true,
		})
	}
	out = append(out, unreadable(l.tables)...)
	out = append(out, unreadable(l.elsewhere[NFT])...)
	for _, r := range l.rules {
		if l.inTheWay(r) {
			out = append(out, Problem{
				What:     fmt.Sprintf("somebody else's rule has the priority %d", r.Priority),
				Where:    "ip rule: " + foreignRule(r),
				WayOut:   "give it another priority or remove its owner",
				Blocking: true,
			})
		}
	}
	for _, r := range l.routes {
		// A slot's table is passed over where it is not needed, see place.
		needed := r.Table < TableDrain || slices.ContainsFunc(p.Drains, func(d Drain) bool { return d.table() == r.Table })
		if needed && !l.ownsRoute(r) {
			out = append(out, Problem{
				What:     fmt.Sprintf("somebody else's route is in table %d", r.Table),
				Where:    fmt.Sprintf("ip route show table %d: %s", r.Table, r.Route),
				WayOut:   "move it to another table",
				Blocking: true,
			})
		}
	}
	return out
}

// unreadable names the tables that rules of ours could be written into and never
// be found again.
func unreadable(tables saved) []Problem {
	var out []Problem
	for _, name := range []string{"mangle", "nat"} {
		if t := tables[name]; t != nil && t.unreadable {
			out = append(out, Problem{
				What:     "somebody's nftables rules or chains in this table cannot be read by iptables",
				Where:    "nft list table ip " + name,
				WayOut:   "move them into a table of another name",
				Blocking: true,
			})
		}
	}
	return out
}

func foreignRule(r listedRule) string {
	if r.other {
		return fmt.Sprintf("%d (more than a mark and a table: see `ip rule show`)", r.Priority)
	}
	return r.Rule.String()
}
