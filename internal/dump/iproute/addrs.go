// SPDX-License-Identifier: Apache-2.0

package iproute

import (
	"net/netip"
	"strings"

	"github.com/ambient22/ambient22/internal/dump/syntax"
)

// address reads a line "inet 10.4.4.18/24 brd 10.4.4.255 scope global eth0".
func (k *Link) address(l syntax.Line, first syntax.Word, w *syntax.Words) error {
	a := Addr{trail: l.Trail(), Line: l.Number}
	word := w.Next()
	p, ok := prefix(word.Text)
	if !ok || !p.IsValid() || p.Addr().Is4() != (first.Text == "inet") {
		return w.Errorf(word, "%q is no address", word.Text)
	}
	a.Prefix = p
	c := collect(l)
	if w.Peek().Text == "peer" {
		w.Next()
		word = w.Next()
		if a.Peer, ok = prefix(word.Text); !ok || !a.Peer.IsValid() {
			return w.Errorf(word, "%q is no address of a peer", word.Text)
		}
	}
	c.known()
	for word = w.Next(); word.Text != ""; word = w.Next() {
		if a.option(word.Text, w, first.Text == "inet") {
			c.known()
		} else {
			c.unknown(word)
		}
	}
	a.Extra = c.done()
	k.Addrs = append(k.Addrs, a)
	return nil
}

func (a *Addr) option(word string, w *syntax.Words, four bool) bool {
	switch {
	case word == "brd":
		b, ok := addr(w.Peek().Text)
		if ok {
			a.Broadcast = b
			w.Next()
		}
		return ok
	case word == "scope":
		a.Scope = w.Next().Text
		return a.Scope != ""
	case four && w.Peek().Text == "" && a.Scope != "":
		a.Label = word
		return true
	case addrFlag(word):
		a.Flags = append(a.Flags, word)
		return true
	}
	return false
}

// lifetimes reads the line "valid_lft forever preferred_lft forever" behind an address.
func (k *Link) lifetimes(l syntax.Line, w *syntax.Words) bool {
	if len(k.Addrs) == 0 {
		return false
	}
	a := &k.Addrs[len(k.Addrs)-1]
	valid, word, preferred, more := w.Next().Text, w.Next().Text, w.Next().Text, w.Next().Text
	if a.Line != l.Number-1 || word != "preferred_lft" || preferred == "" || more != "" {
		return false
	}
	a.Valid, a.Preferred, a.lftTrail = valid, preferred, l.Trail()
	return true
}

func addrFlag(word string) bool {
	switch word {
	case "secondary", "temporary", "dynamic", "tentative", "deprecated", "dadfailed", "permanent", "nodad", "optimistic",
		"home", "noprefixroute", "mngtmpaddr", "autojoin", "stable-privacy", "managetempaddr":
		return true
	}
	return false
}

// write writes the address's lines.
func (a *Addr) write(b *strings.Builder) {
	g := make([]string, 0, 6)
	family := "inet "
	if a.Prefix.Addr().Is6() {
		family = "inet6 "
	}
	if a.Peer.IsValid() {
		g = append(g, family+a.Prefix.Addr().String()+" peer "+a.Peer.String())
	} else {
		g = append(g, family+a.Prefix.String())
	}
	if a.Broadcast.IsValid() {
		g = append(g, "brd "+a.Broadcast.String())
	}
	if a.Scope != "" {
		g = append(g, "scope "+a.Scope)
	}
	g = append(g, a.Flags...)
	if a.Label != "" {
		g = append(g, a.Label)
	}
	b.WriteString("    ")
	weave(b, g, a.Extra, " ")
	b.WriteString(a.trail)
	if a.Valid != "" {
		b.WriteString("\n       valid_lft " + a.Valid + " preferred_lft " + a.Preferred + a.lftTrail)
	}
}

// Addresses are a device's addresses without their prefixes' lengths.
func (k *Link) Addresses() []netip.Addr {
	all := make([]netip.Addr, len(k.Addrs))
	for i, a := range k.Addrs {
		all[i] = a.Prefix.Addr()
	}
	return all
}

// Up tells that the device is set up.
func (k *Link) Up() bool { return k.Has("UP") }

// Has tells that the device has a flag, such as "LOWER_UP".
func (k *Link) Has(flag string) bool {
	for _, f := range k.Flags {
		if f == flag {
			return true
		}
	}
	return false
}
