// SPDX-License-Identifier: Apache-2.0

package iproute

import (
	"strconv"
	"strings"

	"github.com/ambient22/ambient22/internal/dump/syntax"
)

// ParseLinks reads the output of "ip -d addr", or of "ip addr" and "ip link". file
// names the text in errors, which are of type *syntax.Error.
func ParseLinks(file, text string) ([]*Link, error) {
	var links []*Link
	r := syntax.NewReader(file, text)
	before := 0
	for {
		l, ok := r.Next()
		if !ok {
			break
		}
		if l.Blank() {
			continue
		}
		link, err := parseLink(l)
		if err != nil {
			return nil, err
		}
		end, err := link.further(r, l.End)
		if err != nil {
			return nil, err
		}
		after := r.Tail(syntax.Line.Blank)
		var b strings.Builder
		link.write(&b)
		link.kept = syntax.Keep(text[before:l.Start], text[l.Start:end], after, b.String())
		before = end
		links = append(links, link)
	}
	return links, nil
}

// PrintLinks is the text that was parsed; a device that has been changed since is
// printed as ip prints it.
func PrintLinks(links []*Link) string {
	var all, one strings.Builder
	for _, l := range links {
		one.Reset()
		l.write(&one)
		l.kept.Write(&all, one.String())
	}
	return all.String()
}

// parseLink reads a device's first line: "2: eth0@if16: <UP> mtu 1460 ...".
func parseLink(l syntax.Line) (*Link, error) {
	w := syntax.WordsOf(l, 0)
	index, name, flags := w.Next(), w.Next(), w.Next()
	n, err := strconv.Atoi(strings.TrimSuffix(index.Text, ":"))
	if err != nil || n < 0 || !strings.HasSuffix(index.Text, ":") || index.At != 0 {
		return nil, w.Errorf(index, "no device: its number and a colon are expected")
	}
	if !strings.HasSuffix(name.Text, ":") || name.Text == ":" {
		return nil, w.Errorf(name, "a device's name and a colon are expected")
	}
	if !strings.HasPrefix(flags.Text, "<") || !strings.HasSuffix(flags.Text, ">") {
		return nil, w.Errorf(flags, "a device's flags are expected, such as <UP,LOWER_UP>")
	}
	k := &Link{Index: n, Line: l.Number, trail: l.Trail()}
	k.Name = strings.TrimSuffix(name.Text, ":")
	if at := strings.LastIndexByte(k.Name, '@'); at > 0 {
		k.Name, k.Peer = k.Name[:at], k.Name[at+1:]
	}
	if set := flags.Text[1 : len(flags.Text)-1]; set != "" {
		k.Flags = strings.Split(set, ",")
	}
	c := collect(l)
	c.known()
	for word := w.Next(); word.Text != ""; word = w.Next() {
		ok := false
		value := w.Peek().Text
		switch word.Text {
		case "mtu":
			ok = assign(&k.MTU, value)
		case "master":
			k.Master, ok = value, value != ""
		case "state":
			k.State, ok = value, value != ""
		}
		if !ok {
			c.unknown(word)
			continue
		}
		w.Next()
		c.known()
	}
	k.Extra = c.done()
	return k, nil
}

// further reads the lines of a device that begin with blanks.
func (k *Link) further(r *syntax.Reader, end int) (int, error) {
	c := 0 // modelled lines so far
	for {
		l, ok := r.Peek()
		if !ok || l.Text == "" || l.Text[0] != ' ' && l.Text[0] != '\t' || l.Blank() {
			return end, nil
		}
		r.Next()
		end = l.End
		w := syntax.WordsOf(l, 0)
		first := w.Next()
		var err error
		switch {
		case strings.HasPrefix(first.Text, "link/") && k.Type == "":
			k.hardware(l, first, w)
		case first.Text == "inet" || first.Text == "inet6":
			err = k.address(l, first, w)
		case first.Text == "valid_lft" && k.lifetimes(l, w):
			continue // part of the address's lines
		case c == 1 && k.Kind == "" && first.At == 4 && isKind(first.Text):
			k.kind(l, first, w)
		default:
			k.Lines = append(k.Lines, Word{After: c, Text: l.Text})
			continue
		}
		if err != nil {
			return end, err
		}
		c++
	}
}

// hardware reads the line "link/ether ADDRESS brd ADDRESS link-netnsid 0 ...".
func (k *Link) hardware(l syntax.Line, first syntax.Word, w *syntax.Words) {
	k.Type, k.hwTrail = strings.TrimPrefix(first.Text, "link/"), l.Trail()
	c := collect(l)
	// Without an address there are two blanks.
	if next := w.Peek(); next.At == first.End()+1 {
		k.MAC = w.Next().Text
	}
	c.known()
	for word := w.Next(); word.Text != ""; word = w.Next() {
		if (word.Text == "link-netnsid" || word.Text == "link-netns") && w.Peek().Text != "" {
			k.netns, k.PeerNetns = word.Text, w.Next().Text
			c.known()
			continue
		}
		c.unknown(word)
	}
	k.HWExtra = c.done()
}

// kind reads the line with what is special to this kind of devices.
func (k *Link) kind(l syntax.Line, first syntax.Word, w *syntax.Words) {
	k.Kind, k.kndTrail = first.Text, l.Trail()
	c := collect(l)
	c.known()
	var t *Tunnel
	if k.Kind == "geneve" || k.Kind == "vxlan" {
		t = &Tunnel{}
	}
	for word := w.Next(); word.Text != ""; word = w.Next() {
		if t == nil || !t.option(word.Text, w) {
			c.unknown(word)
			continue
		}
		c.known()
	}
	k.Tunnel, k.KindExtra = t, c.done()
}

func (t *Tunnel) option(word string, w *syntax.Words) bool {
	value := w.Peek().Text
	ok := false
	switch word {
	case "id":
		ok = assign(&t.VNI, value)
	case "remote":
		if a, good := addr(value); good {
			t.Remote, ok = a, true
		}
	case "ttl":
		t.TTL, ok = value, value != ""
	case "dstport":
		var n uint32
		if ok = assign(&n, value) && n < 1<<16; ok {
			t.Port = uint16(n)
		}
	case "noudpcsum":
		t.NoUDPChecksum = true
		return true
	case "udp6zerocsumrx":
		t.ZeroChecksum6Rx = true
		return true
	}
	if ok {
		w.Next()
	}
	return ok
}

// isKind tells a kind of devices from the other words that a line may begin with.
func isKind(word string) bool {
	switch word {
	case "alias", "altname", "vf", "RX:", "TX:", "RX", "TX", "valid_lft":
		return false
	}
	return !strings.ContainsAny(word, "/:<") && !strings.HasSuffix(word, "_slave")
}
