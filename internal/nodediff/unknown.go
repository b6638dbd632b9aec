// SPDX-License-Identifier: Apache-2.0

package nodediff

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
)

// stand-ins take the place of parameters that no line of a dump tells, so that what
// does not depend on them can be compared. Their addresses are for tests of devices
// (RFC 2544) and on no node.
func standIns() map[string]string {
	return map[string]string{
		paramZtunnel: "198.18.255.18", paramHost: "198.18.255.1", paramGateway: "198.18.255.2", paramVeth: "unknownveth",
	}
}

// lend puts stand-ins for what nothing tells.
func (l *legacy) lend(names ...string) {
	for _, name := range names {
		value := l.w.value(name)
		if name == paramGateway {
			value = addrText(l.gateway())
		}
		if value == "" {
			l.lent = append(l.lent, name)
			l.w.give(name, standIns()[name])
		}
	}
}

// known takes the stand-ins out of findings: what depends on one of them is not known.
func (l *legacy) known(found []Finding) []Finding {
	if len(l.lent) == 0 {
		return found
	}
	out := found[:0]
	for _, f := range found {
		if missing := l.dependsOn(f); missing != "" {
			switch {
			case f.Kind == Missing, f.Kind == Unshown:
				f.Kind, f.Note = Unshown, "nothing in the dump tells the "+missing
			case f.Kind == Changed && l.onlyStandIns(f):
				f.Kind, f.Fields = Equal, nil
			}
		}
		f.Want, f.Note = l.unlend(f.Want), l.unlend(f.Note)
		for i := range f.Fields {
			f.Fields[i].Want = l.unlend(f.Fields[i].Want)
		}
		out = append(out, f)
	}
	return out
}

func (l *legacy) dependsOn(f Finding) string {
	var names []string
	for _, name := range l.lent {
		if strings.Contains(f.Want, standIns()[name]) {
			names = append(names, name)
		}
	}
	return strings.Join(names, " and the ")
}

func (l *legacy) onlyStandIns(f Finding) bool {
	return !slices.ContainsFunc(f.Fields, func(x Field) bool { return x.Want == l.unlend(x.Want) })
}

// unlend words a stand-in.
func (l *legacy) unlend(text string) string {
	for _, name := range l.lent {
		text = strings.ReplaceAll(text, standIns()[name], strings.ToUpper(strings.ReplaceAll(name, " ", "-")))
	}
	return text
}

// lentNote says which parameters are not known.
func (l *legacy) lentNote() string {
	if len(l.lent) == 0 {
		return ""
	}
	return fmt.Sprintf("Nothing in the dump tells the %s: lines that depend on it are not compared.", strings.Join(l.lent, ", the "))
}

// isStandIn tells whether an address is nobody's.
func isStandIn(ip netip.Addr) bool {
	for _, v := range standIns() {
		if v == ip.String() {
			return true
		}
	}
	return false
}
