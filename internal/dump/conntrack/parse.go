// SPDX-License-Identifier: Apache-2.0

package conntrack

import (
	"net/netip"
	"strconv"
	"strings"

	"github.com/ambient22/ambient22/internal/dump/syntax"
)

// Parse reads the output of "conntrack -L", with "-o extended" too, and
// /proc/net/nf_conntrack. The tool's last line, "conntrack v1.4.7 ...: 5 flow
// entries have been shown.", may be in it. file names the text in errors, which
// are of type *syntax.Error.
func Parse(file, text string) ([]*Conn, error) {
	var conns []*Conn
	r := syntax.NewReader(file, text)
	before := 0
	for {
		l, ok := r.Next()
		if !ok {
			break
		}
		if remark(l) {
			continue
		}
		c, err := parseConn(l)
		if err != nil {
			return nil, err
		}
		c.kept = syntax.Keep(text[before:l.Start], text[l.Start:l.End], r.Tail(remark), c.String()+"\n")
		before = l.End
		conns = append(conns, c)
	}
	return conns, nil
}

func remark(l syntax.Line) bool { return l.Blank() || strings.HasPrefix(l.Text, "conntrack v") }

// reader reads one line.
type reader struct {
	*syntax.Words
	c      *Conn
	tuples int // how many have begun
	count  int // modelled words so far
	ids    int // directions whose id= was read
}

func parseConn(l syntax.Line) (*Conn, error) {
	r := &reader{Words: syntax.WordsOf(l, 0), c: &Conn{Line: l.Number, Timeout: -1}}
	if err := r.head(); err != nil {
		return nil, err
	}
	for word := r.Next(); word.Text != ""; word = r.Next() {
		if err := r.word(word); err != nil {
			return nil, err
		}
	}
	if o, a := r.c.Original, r.c.Reply; !o.Src.IsValid() || !o.Dst.IsValid() || !a.Src.IsValid() || !a.Dst.IsValid() {
		return nil, l.Errorf(len(l.Text), "two directions are expected, each with src= and dst=")
	}
	return r.c, nil
}

// head reads the words before the first direction.
func (r *reader) head() error {
	word := r.Next()
	if word.Text == "ipv4" || word.Text == "ipv6" {
		r.c.Family = word.Text
		if n := r.Next(); n.Text != "2" && n.Text != "10" {
			return r.Errorf(n, "%q is no number of a family of addresses", n.Text)
		}
		word = r.Next()
	}
	switch {
	case word.Text == "" || strings.Contains(word.Text, "="):
		return r.Errorf(word, "a protocol's name is expected")
	case word.Text[0] == '[':
		return r.Errorf(word, "an event of conntrack -E; what connections there are tells conntrack -L")
	}
	r.c.Name = word.Text
	number := r.Next()
	n, err := strconv.ParseUint(number.Text, 10, 8)
	if err != nil {
		return r.Errorf(number, "%q is no number of a protocol", number.Text)
	}
	r.c.Protocol = uint8(n)
	if seconds, err := strconv.ParseInt(r.Peek().Text, 10, 63); err == nil && seconds >= 0 {
		r.c.Timeout = seconds
		r.Next()
	}
	if state := r.Peek().Text; state != "" && state[0] != '[' && !strings.Contains(state, "=") {
		r.c.State = state
		r.Next()
	}
	return nil
}

// word reads one word of the directions and what follows them.
func (r *reader) word(w syntax.Word) error {
	key, value, ok := strings.Cut(w.Text, "=")
	known := true
	var err error
	switch {
	case ok:
		known, err = r.pair(w, key, value)
	case w.Text == "[UNREPLIED]":
		r.c.Unreplied = true
	case w.Text == "[ASSURED]":
		r.c.Assured = true
	case w.Text == "[OFFLOAD]":
		r.c.Offload = true
	default:
		known = false
	}
	if err != nil {
		return err
	}
	if known {
		r.count++
		return nil
	}
	r.c.Extra = append(r.c.Extra, Word{After: r.count, Text: w.Text})
	return nil
}

// pair reads "key=value". It reports whether the key is modelled.
func (r *reader) pair(w syntax.Word, key, value string) (bool, error) {
	bad := func() (bool, error) {
		return false, r.Line.Errorf(w.At+len(key)+1, "%q is no value for %q", value, key)
	}
	if key == "src" {
		if r.tuples++; r.tuples > 2 {
			return false, r.Errorf(w, "a third direction")
		}
	}
	t := &r.c.Original
	if r.tuples == 2 {
		t = &r.c.Reply
	}
	switch key {
	case "mark":
		n, err := strconv.ParseUint(value, 0, 32)
		if err != nil {
			return bad()
		}
		r.c.Mark, r.c.marked = uint32(n), true
	case "use":
		n, err := strconv.ParseUint(value, 10, 32)
		if err != nil {
			return bad()
		}
		r.c.Use, r.c.used = uint32(n), true
	case "zone":
		n, err := strconv.ParseUint(value, 10, 16)
		if err != nil {
			return bad()
		}
		r.c.Zone, r.c.zoned = uint16(n), true
	case "src", "dst", "sport", "dport", "packets", "bytes", "type", "code", "id":
		if r.tuples == 0 {
			return false, r.Errorf(w, "src= is expected before %s=", key)
		}
		if key == "id" {
			if t.ICMP == nil || r.ids == r.tuples {
				return false, nil // the connection's own number, of "-o id"
			}
			r.ids = r.tuples
		}
		if !t.set(key, value) {
			return bad()
		}
	default:
		return false, nil
	}
	return true, nil
}

// set puts one value into a direction.
func (t *Tuple) set(key, value string) bool {
	switch key {
	case "src", "dst":
		a, err := netip.ParseAddr(value)
		if err != nil {
			return false
		}
		if key == "src" {
			t.Src = netip.AddrPortFrom(a, t.Src.Port())
		} else {
			t.Dst = netip.AddrPortFrom(a, t.Dst.Port())
		}
		return true
	case "packets", "bytes":
		n, err := strconv.ParseUint(value, 10, 64)
		if key == "packets" {
			t.Packets = n
		} else {
			t.Bytes = n
		}
		t.Counted = true
		return err == nil
	}
	n, err := strconv.ParseUint(value, 10, 16)
	if err != nil {
		return false
	}
	switch key {
	case "sport":
		t.Src = netip.AddrPortFrom(t.Src.Addr(), uint16(n))
	case "dport":
		t.Dst = netip.AddrPortFrom(t.Dst.Addr(), uint16(n))
	default:
		return t.icmp(key, uint16(n))
	}
	return true
}

func (t *Tuple) icmp(key string, n uint16) bool {
	if t.ICMP == nil {
		t.ICMP = &ICMP{}
	}
	switch key {
	case "type":
		t.ICMP.Type = uint8(n)
	case "code":
		t.ICMP.Code = uint8(n)
	default:
		t.ICMP.ID = n
		return true
	}
	return n < 256
}
