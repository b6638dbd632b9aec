// SPDX-License-Identifier: Apache-2.0

package conntrack

import (
	"strconv"
	"strings"
)

// Print is the text that was parsed; a connection that has been changed since is
// printed as conntrack prints it.
func Print(conns []*Conn) string {
	var b strings.Builder
	for _, c := range conns {
		c.kept.Write(&b, c.String()+"\n")
	}
	return b.String()
}

// String is the connection's line, without the line's end.
func (c *Conn) String() string {
	b := make([]byte, 0, 256)
	if c.Family == "ipv6" {
		b = append(b, "ipv6     10 "...)
	} else if c.Family != "" {
		b = append(b, "ipv4     2 "...)
	}
	b = append(b, c.Name...)
	for i := len(c.Name); i < 8; i++ {
		b = append(b, ' ')
	}
	b = append(b, ' ')
	b = strconv.AppendUint(b, uint64(c.Protocol), 10)
	if c.Timeout >= 0 {
		b = strconv.AppendInt(append(b, ' '), c.Timeout, 10)
	}
	if c.State != "" {
		b = append(append(b, ' '), c.State...)
	}
	w := writer{b: b, extra: c.Extra}
	w.tuple(&c.Original, c.Protocol)
	w.flag(c.Unreplied, "[UNREPLIED]")
	w.tuple(&c.Reply, c.Protocol)
	w.flag(c.Assured, "[ASSURED]")
	w.flag(c.Offload, "[OFFLOAD]")
	if c.marked || c.Mark != 0 {
		w.number("mark=", uint64(c.Mark))
	}
	if c.zoned || c.Zone != 0 {
		w.number("zone=", uint64(c.Zone))
	}
	if c.used || c.Use != 0 {
		w.number("use=", uint64(c.Use))
	}
	w.rest()
	return string(w.b)
}

// writer puts the kept words between the modelled ones.
type writer struct {
	b     []byte
	extra []Word
	count int
}

// word makes room for one modelled word.
func (w *writer) word() {
	for len(w.extra) > 0 && w.extra[0].After <= w.count {
		w.b = append(append(w.b, ' '), w.extra[0].Text...)
		w.extra = w.extra[1:]
	}
	w.b = append(w.b, ' ')
	w.count++
}

func (w *writer) rest() {
	for _, e := range w.extra {
		w.b = append(append(w.b, ' '), e.Text...)
	}
}

func (w *writer) flag(set bool, name string) {
	if set {
		w.word()
		w.b = append(w.b, name...)
	}
}

func (w *writer) number(key string, n uint64) {
	w.word()
	w.b = strconv.AppendUint(append(w.b, key...), n, 10)
}

func (w *writer) tuple(t *Tuple, protocol uint8) {
	w.word()
	w.b = t.Src.Addr().AppendTo(append(w.b, "src="...))
	w.word()
	w.b = t.Dst.Addr().AppendTo(append(w.b, "dst="...))
	switch {
	case t.ICMP != nil:
		w.number("type=", uint64(t.ICMP.Type))
		w.number("code=", uint64(t.ICMP.Code))
		w.number("id=", uint64(t.ICMP.ID))
	case hasPorts(protocol) || t.Src.Port() != 0 || t.Dst.Port() != 0:
		w.number("sport=", uint64(t.Src.Port()))
		w.number("dport=", uint64(t.Dst.Port()))
	}
	if t.Counted {
		w.number("packets=", t.Packets)
		w.number("bytes=", t.Bytes)
	}
}

// hasPorts tells whether conntrack prints a protocol's ports: TCP, UDP, DCCP,
// SCTP, UDP-Lite.
func hasPorts(protocol uint8) bool {
	switch protocol {
	case 6, 17, 33, 132, 136:
		return true
	}
	return false
}
