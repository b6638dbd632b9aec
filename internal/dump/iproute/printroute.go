// SPDX-License-Identifier: Apache-2.0

package iproute

import (
	"net/netip"
	"strings"
)

// String is the route as ip prints it, without the last line's end and blanks
// before it.
func (r *Route) String() string {
	var b strings.Builder
	r.write(&b)
	return strings.TrimRight(b.String(), " \t\r\n")
}

// write writes the route with the lines that follow it.
func (r *Route) write(b *strings.Builder) {
	weave(b, r.words(), r.Extra, " ")
	b.WriteString(r.trail)
	b.WriteByte('\n')
	if len(r.Nexthops)+len(r.Lines) == 0 {
		return
	}
	hops := make([]string, len(r.Nexthops))
	for i := range r.Nexthops {
		hops[i] = r.Nexthops[i].line(r.IPv6)
	}
	weave(b, hops, r.Lines, "\n")
	b.WriteByte('\n')
}

// line is the next hop's line.
func (h *Nexthop) line(six bool) string {
	var b strings.Builder
	b.WriteString("\tnexthop ")
	weave(&b, h.words(six), h.Extra, " ")
	b.WriteString(h.trail)
	return b.String()
}

// words are the modelled options in ip's order.
func (r *Route) words() []string {
	g := make([]string, 0, 10)
	to := "default"
	if r.Dst.IsValid() && (r.Dst.Bits() > 0 || !r.Dst.Addr().IsUnspecified()) {
		to = prefixWord(r.Dst)
	}
	if r.Type != "unicast" && r.Type != "" || r.detailed {
		to = r.Type + " " + to
	}
	g = append(g, to)
	if r.TOS != 0 {
		g = append(g, "tos "+hex(uint32(r.TOS)))
	}
	if r.NHID != 0 {
		g = append(g, "nhid "+decimal(r.NHID))
	}
	if r.Via.IsValid() {
		g = append(g, viaWord(r.Via, r.IPv6))
	}
	if r.Dev != "" {
		g = append(g, "dev "+r.Dev)
	}
	asked := r.asked
	if asked == TableUnspec {
		asked = TableMain
	}
	if r.Table != asked || r.tabled {
		g = append(g, "table "+tableWord(r.Table, r.TableName))
	}
	if r.Proto != "" {
		g = append(g, "proto "+r.Proto)
	}
	if r.Scope != "" {
		g = append(g, "scope "+r.Scope)
	}
	return r.values(g)
}

// values appends the options behind the scope.
func (r *Route) values(g []string) []string {
	if r.Src.IsValid() {
		g = append(g, "src "+r.Src.String())
	}
	if r.Metric != 0 || r.IPv6 {
		g = append(g, "metric "+decimal(r.Metric))
	}
	if len(r.Flags) > 0 {
		g = append(g, strings.Join(r.Flags, " "))
	}
	if r.MTU != 0 {
		g = append(g, "mtu "+suffix(r.MTULock, "lock ")+decimal(r.MTU))
	}
	return g
}

func (h *Nexthop) words(six bool) []string {
	g := make([]string, 0, 4)
	if h.Via.IsValid() {
		g = append(g, viaWord(h.Via, six))
	}
	if h.Dev != "" {
		g = append(g, "dev "+h.Dev)
	}
	if h.Weight != 0 {
		g = append(g, "weight "+decimal(h.Weight))
	}
	return append(g, h.Flags...)
}

// viaWord names the family where it is not the route's.
func viaWord(a netip.Addr, six bool) string {
	if a.Is6() && !six {
		return "via inet6 " + a.String()
	}
	if a.Is4() && six {
		return "via inet " + a.String()
	}
	return "via " + a.String()
}
