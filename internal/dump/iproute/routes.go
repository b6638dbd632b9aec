// SPDX-License-Identifier: Apache-2.0

package iproute

import (
	"net/netip"
	"strings"

	"github.com/ambient22/ambient22/internal/dump/syntax"
)

// ParseRoutes reads the output of "ip route show table all", or of one table: then
// table is the one that was asked for, which ip doesn't print. 0 means main. file
// names the text in errors, which are of type *syntax.Error.
func ParseRoutes(file, text string, table uint32) ([]*Route, error) {
	if table == TableUnspec {
		table = TableMain
	}
	var routes []*Route
	r := syntax.NewReader(file, text)
	before, six := 0, false
	for {
		l, ok := r.Next()
		if !ok {
			break
		}
		if l.Blank() {
			continue
		}
		route, err := parseRoute(l, table)
		if err != nil {
			return nil, err
		}
		end, err := route.continuations(r, l.End)
		if err != nil {
			return nil, err
		}
		six = route.family(six)
		after := r.Tail(syntax.Line.Blank)
		var b strings.Builder
		route.write(&b)
		route.kept = syntax.Keep(text[before:l.Start], text[l.Start:end], after, b.String())
		before = end
		routes = append(routes, route)
	}
	return routes, nil
}

// continuations reads the lines that begin with blanks, and gives the offset
// behind them.
func (r *Route) continuations(rd *syntax.Reader, end int) (int, error) {
	for {
		l, ok := rd.Peek()
		if !ok || l.Text == "" || l.Text[0] != ' ' && l.Text[0] != '\t' || l.Blank() {
			return end, nil
		}
		rd.Next()
		end = l.End
		w := syntax.WordsOf(l, 0)
		if w.Next().Text != "nexthop" {
			r.Lines = append(r.Lines, Word{After: len(r.Nexthops), Text: l.Text})
			continue
		}
		hop, err := r.nexthop(l, w)
		if err != nil {
			return end, err
		}
		r.Nexthops = append(r.Nexthops, hop)
	}
}

// PrintRoutes is the text that was parsed; a route that has been changed since is
// printed as ip prints it.
func PrintRoutes(routes []*Route) string {
	var all, one strings.Builder
	for _, r := range routes {
		one.Reset()
		r.write(&one)
		r.kept.Write(&all, one.String())
	}
	return all.String()
}

func parseRoute(l syntax.Line, table uint32) (*Route, error) {
	r := &Route{Type: "unicast", Table: table, asked: table, Line: l.Number, trail: l.Trail()}
	w := syntax.WordsOf(l, 0)
	c := collect(l)
	if err := r.destination(w); err != nil {
		return nil, err
	}
	c.known()
	for {
		word := w.Next()
		if word.Text == "" {
			break
		}
		known, err := r.option(word, w, c)
		if err != nil {
			return nil, err
		}
		if known {
			c.known()
		} else if word.Text != "encap" {
			c.unknown(word)
		}
	}
	r.Extra = c.done()
	return r, nil
}

// destination reads the type and the prefix, which begin every route.
func (r *Route) destination(w *syntax.Words) error {
	word := w.Next()
	if routeType(word.Text) {
		r.Type, r.detailed = word.Text, word.Text == "unicast"
		word = w.Next()
	}
	dst, ok := prefix(word.Text)
	if !ok {
		return w.Errorf(word, "no route: %q is neither a prefix nor a type of routes", word.Text)
	}
	r.Dst = dst
	return nil
}

// option reads one option with its value. It reports whether it is modelled.
func (r *Route) option(word syntax.Word, w *syntax.Words, c *collector) (bool, error) {
	switch word.Text {
	case "via":
		r.crossed = w.Peek().Text == "inet6"
		return true, via(&r.Via, w)
	case "dev":
		return true, device(&r.Dev, w)
	case "table":
		at := w.Next()
		if at.Text == "" {
			return false, w.Errorf(at, "a table's number or name is expected")
		}
		var named bool
		if r.Table, named = TableID(at.Text); named {
			r.TableName = at.Text
		}
		r.tabled = true
		return true, nil
	case "encap":
		skipEncap(word, w, c)
		return false, nil
	case "mtu":
		return r.mtu(w), nil
	case "proto":
		r.Proto = w.Next().Text
		return r.Proto != "", nil
	case "scope":
		r.Scope = w.Next().Text
		return r.Scope != "", nil
	}
	if routeFlag(word.Text) {
		r.Flags = append(r.Flags, word.Text)
		// Flags in a row are one option.
		if f := w.Peek(); routeFlag(f.Text) {
			return r.option(w.Next(), w, c)
		}
		return true, nil
	}
	return r.value(word.Text, w), nil
}

// value reads an option whose value may be cut off or of a kind that we do not
// know: then both words are kept as they are.
func (r *Route) value(option string, w *syntax.Words) bool {
	word := w.Peek().Text
	ok := false
	switch option {
	case "src":
		var a netip.Addr
		if a, ok = addr(word); ok {
			r.Src = a
		}
	case "metric":
		ok = assign(&r.Metric, word)
	case "nhid":
		ok = assign(&r.NHID, word)
	case "tos":
		var n uint32
		if ok = assign(&n, word) && n < 256; ok {
			r.TOS = uint8(n)
		}
	}
	if ok {
		w.Next()
	}
	return ok
}

func (r *Route) mtu(w *syntax.Words) bool {
	ahead := *w
	word := ahead.Next()
	lock := word.Text == "lock"
	if lock {
		word = ahead.Next()
	}
	if !assign(&r.MTU, word.Text) {
		return false
	}
	r.MTULock = lock
	*w = ahead
	return true
}

// skipEncap keeps the words of an encapsulation, some of which are also options
// of a route, up to the next hop.
func skipEncap(word syntax.Word, w *syntax.Words, c *collector) {
	c.unknown(word)
	for {
		next := w.Peek().Text
		if next == "" || next == "via" || next == "dev" || next == "table" {
			return
		}
		c.unknown(w.Next())
	}
}

// nexthop reads a line "nexthop via ... dev ... weight ...", behind its first word.
func (r *Route) nexthop(l syntax.Line, w *syntax.Words) (Nexthop, error) {
	h := Nexthop{trail: l.Trail()}
	c := collect(l)
	for {
		word := w.Next()
		var err error
		switch {
		case word.Text == "":
			h.Extra = c.done()
			return h, nil
		case word.Text == "via":
			err = via(&h.Via, w)
			c.known()
		case word.Text == "dev":
			err = device(&h.Dev, w)
			c.known()
		case word.Text == "weight" && assign(&h.Weight, w.Peek().Text):
			w.Next()
			c.known()
		case word.Text == "encap":
			skipEncap(word, w, c)
		case routeFlag(word.Text):
			h.Flags = append(h.Flags, word.Text)
			c.known()
		default:
			c.unknown(word)
		}
		if err != nil {
			return h, err
		}
	}
}

func via(to *netip.Addr, w *syntax.Words) error {
	at := w.Next()
	if at.Text == "inet6" || at.Text == "inet" {
		at = w.Next()
	}
	a, ok := addr(at.Text)
	if !ok {
		return w.Errorf(at, "%q is no address of a gateway", at.Text)
	}
	*to = a
	return nil
}

func device(to *string, w *syntax.Words) error {
	at := w.Next()
	if at.Text == "" {
		return w.Errorf(at, "a device's name is expected")
	}
	*to = at.Text
	return nil
}

func addr(word string) (netip.Addr, bool) {
	a, err := netip.ParseAddr(word)
	return a, err == nil && a.Zone() == ""
}

func assign(to *uint32, word string) bool {
	n, ok := number(word)
	if ok {
		*to = n
	}
	return ok
}

// family finds out whether the route is one of IPv6, and gives "default" its family.
// ip prints IPv4's tables first: after is that a route of IPv6 stood before. It
// gives what is true for the next route.
func (r *Route) family(after bool) bool {
	r.IPv6 = r.Dst.Addr().Is6()
	if r.Dst.IsValid() {
		return r.IPv6 || after
	}
	r.IPv6 = r.defaultOf6() || after && !r.of4()
	r.Dst = netip.PrefixFrom(netip.IPv4Unspecified(), 0)
	if r.IPv6 {
		r.Dst = netip.PrefixFrom(netip.IPv6Unspecified(), 0)
	}
	return r.IPv6 || after
}

// of4 tells that a gateway or source is one of IPv4.
func (r *Route) of4() bool {
	return r.Via.Is4() || r.Src.Is4() || r.crossed || len(r.Nexthops) > 0 && r.Nexthops[0].Via.Is4()
}

// defaultOf6 tells whether "default" is ::/0: its gateway says so, or an option
// that only IPv6 has.
func (r *Route) defaultOf6() bool {
	if r.crossed {
		return false
	}
	if r.Src.Is6() || len(r.Nexthops) > 0 && r.Nexthops[0].Via.Is6() {
		return true
	}
	for _, w := range r.Extra {
		if strings.Contains(" "+w.Text+" ", " pref ") || strings.HasPrefix(w.Text, "error ") || strings.HasPrefix(w.Text, "hoplimit ") {
			return true
		}
	}
	return r.Via.Is6()
}

func routeType(word string) bool {
	switch word {
	case "unicast", "local", "broadcast", "anycast", "multicast", "blackhole", "unreachable", "prohibit", "throw", "nat", "xresolve":
		return true
	}
	return false
}

func routeFlag(word string) bool {
	switch word {
	case "dead", "onlink", "pervasive", "offload", "trap", "notify", "linkdown", "unresolved",
		"rt_offload", "rt_trap", "rt_notify", "offload_failed", "rt_offload_failed":
		return true
	}
	return false
}
