// SPDX-License-Identifier: Apache-2.0

package nodediff

import (
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"strings"

	"github.com/ambient22/ambient22/internal/dump/iproute"
	"github.com/ambient22/ambient22/noderoute"
)

// ipRuleItem is one ip rule.
func ipRuleItem(r *iproute.Rule) item {
	fields := []attr{{"priority", strconv.FormatUint(uint64(r.Priority), 10)}}
	add := func(name, value string, there bool) {
		if there {
			fields = append(fields, attr{name, value})
		}
	}
	add("not", "yes", r.Not)
	add("from", r.From.String(), r.From.IsValid() && r.From.Bits() > 0)
	add("to", r.To.String(), r.To.IsValid() && r.To.Bits() > 0)
	if r.Mask != 0 || r.Mark != 0 {
		fields = append(fields, marked("fwmark", hex(r.Mark), r.Mask)...)
	}
	add("iif", r.IIF, r.IIF != "")
	add("oif", r.OIF, r.OIF != "")
	add("tos", hex(uint32(r.TOS)), r.TOS != 0)
	add("ipproto", strconv.Itoa(int(r.Protocol)), r.Protocol != 0)
	add("sport", fmt.Sprint(r.SPort), r.SPort != [2]uint16{})
	add("dport", fmt.Sprint(r.DPort), r.DPort != [2]uint16{})
	switch r.Action {
	case "goto":
		add("goto", strconv.FormatUint(uint64(r.Goto), 10), true)
	case "lookup", "":
		add("lookup", tableName(r.Table), true)
	default:
		add("action", r.Action, true)
	}
	for _, w := range r.Extra {
		add("word", w.Text, true)
	}
	it := newItem(strings.Join(strings.Fields(r.String()), " "), fields)
	it.lineNo = r.Line
	return it
}

func tableName(id uint32) string {
	switch id {
	case 255:
		return "local"
	case 254:
		return "main"
	case 253:
		return "default"
	}
	return strconv.FormatUint(uint64(id), 10)
}

// plannedRule is an ip rule of the plan as a dump would have it.
func plannedRule(r noderoute.Rule) *iproute.Rule {
	out := &iproute.Rule{Priority: r.Priority, Mark: r.Mark, Mask: r.Mask, Action: "lookup", Table: r.Table, SuppressPrefix: -1}
	if r.Goto != 0 {
		out.Action, out.Goto = "goto", r.Goto
	}
	return out
}

// wantedRule is the item of a planned ip rule.
func wantedRule(r noderoute.Rule) item {
	it := ipRuleItem(plannedRule(r))
	it.line = strings.Join(strings.Fields(r.String()), " ")
	return it
}

// routeItem is one route. Its scope is the kernel's where none is printed.
func routeItem(r *iproute.Route, names aliases) item {
	var fields []attr
	add := func(name, value string, there bool) {
		if there {
			fields = append(fields, attr{name, value})
		}
	}
	kind := r.Type
	if kind == "" {
		kind = "unicast"
	}
	add("to", destination(r.Dst), true)
	add("type", kind, true)
	add("via", r.Via.String(), r.Via.IsValid())
	add("dev", names.of(r.Dev), r.Dev != "")
	add("src", srcText(r), srcText(r) != "")
	add("scope", r.Scope, r.Scope != "" && r.Scope != "global")
	add("metric", strconv.FormatUint(uint64(r.Metric), 10), r.Metric != 0)
	add("onlink", "yes", slices.Contains(r.Flags, "onlink"))
	add("mtu", strconv.FormatUint(uint64(r.MTU), 10), r.MTU != 0)
	add("tos", hex(uint32(r.TOS)), r.TOS != 0)
	for _, flag := range []string{"linkdown", "dead"} {
		add("state", flag, slices.Contains(r.Flags, flag))
	}
	for _, hop := range r.Nexthops {
		add("nexthop", strings.TrimSpace(fmt.Sprintf("%s %s %d", addrText(hop.Via), names.of(hop.Dev), hop.Weight)), true)
	}
	it := newItem(strings.Join(strings.Fields(r.String()), " "), fields)
	it.lineNo = r.Line
	return it
}

// srcText is the preferred source, also one that was cut off and is no address.
func srcText(r *iproute.Route) string {
	if r.Src.IsValid() {
		return r.Src.String()
	}
	for i, w := range r.Extra {
		if rest, is := strings.CutPrefix(w.Text, "src "); is {
			return rest
		}
		if w.Text == "src" && i+1 < len(r.Extra) {
			return r.Extra[i+1].Text
		}
	}
	return ""
}

func destination(p netip.Prefix) string {
	switch {
	case p.Bits() == 0:
		return "default"
	case p.IsSingleIP():
		return p.Addr().String()
	}
	return p.String()
}

func addrText(a netip.Addr) string {
	if !a.IsValid() {
		return ""
	}
	return a.String()
}

// wantedRoute is the item of a planned route.
func wantedRoute(r noderoute.Route, names aliases) item {
	route := &iproute.Route{Type: "unicast", Dst: r.Dst, Table: r.Table, Via: r.Via, Dev: r.Dev, Src: r.Src}
	if r.Local {
		route.Type = "local"
	}
	switch r.Scope {
	case 253:
		route.Scope = "link"
	case 254:
		route.Scope = "host"
	}
	if r.OnLink {
		route.Flags = []string{"onlink"}
	}
	it := routeItem(route, names)
	it.line = r.String()
	return it
}
