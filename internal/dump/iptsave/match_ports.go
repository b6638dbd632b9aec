// SPDX-License-Identifier: Apache-2.0

package iptsave

import "strings"

func parsePorts(module string) func(*cursor) (Match, bool) {
	return func(c *cursor) (Match, bool) { return readPorts(c, module) }
}

// readPorts reads --sport, --dport and --tcp-flags, and leaves other options of
// these modules unmodelled.
func readPorts(c *cursor, module string) (Match, bool) {
	m := Ports{Module: module}
	for c.moreOptions() {
		at := c.at
		o, _ := c.option()
		known, ok := m.read(c, &o)
		if !known {
			c.at = at
			m.Rest = c.rest()
			return m, true
		}
		if !ok {
			return nil, false
		}
		m.NotAfter = m.NotAfter || o.late
	}
	return m, true
}

func (m *Ports) read(c *cursor, o *option) (known, ok bool) {
	switch o.name {
	case "--sport", "--dport":
		value, _ := c.value(o)
		ports, ok := portRange(value)
		if o.name == "--sport" {
			m.Source, m.NotSource = &ports, o.not
		} else {
			m.Dest, m.NotDest = &ports, o.not
		}
		return true, ok
	case "--tcp-flags":
		mask, _ := c.value(o)
		set, _ := c.word()
		var okMask, okSet bool
		m.FlagMask, okMask = tcpFlags(mask)
		m.FlagSet, okSet = tcpFlags(set)
		m.NotFlags = o.not
		return true, okMask && okSet && m.FlagMask != 0
	}
	return false, false
}

func (m Ports) appendTo(b []byte) []byte {
	start := len(b)
	if m.Module != "" {
		b = append(append(b, "-m "...), m.Module...)
	}
	if m.Source != nil {
		b = m.Source.appendTo(appendOption(append(b, ' '), "--sport", m.NotSource, m.NotAfter))
	}
	if m.Dest != nil {
		b = m.Dest.appendTo(appendOption(append(b, ' '), "--dport", m.NotDest, m.NotAfter))
	}
	if m.FlagMask != 0 {
		b = appendOption(append(b, ' '), "--tcp-flags", m.NotFlags, m.NotAfter)
		b = appendFlags(append(appendFlags(b, m.FlagMask), ' '), m.FlagSet)
	}
	b = appendWords(b, m.Rest)
	if m.Module == "" && len(b) > start {
		b = append(b[:start], b[start+1:]...)
	}
	return b
}

// flagNames are TCP's flags from the lowest bit.
const flagNames = "FIN,SYN,RST,PSH,ACK,URG"

func tcpFlags(list string) (flags uint8, ok bool) {
	if list == "NONE" {
		return 0, true
	}
	for name := range strings.SplitSeq(list, ",") {
		at := strings.Index(flagNames, name)
		if len(name) != 3 || at < 0 || at%4 != 0 {
			return 0, false
		}
		flags |= 1 << (at / 4)
	}
	return flags, true
}

func appendFlags(b []byte, flags uint8) []byte {
	if flags == 0 {
		return append(b, "NONE"...)
	}
	comma := false
	for bit := range 6 {
		if flags&(1<<bit) == 0 {
			continue
		}
		if comma {
			b = append(b, ',')
		}
		b, comma = append(b, flagNames[bit*4:bit*4+3]...), true
	}
	return b
}

func parseMultiport(c *cursor) (Match, bool) {
	o, _ := c.option()
	switch o.name {
	case "--sports", "--dports", "--ports":
	default:
		return nil, false
	}
	value, _ := c.value(&o)
	m := Multiport{Not: o.not, NotAfter: o.late, Option: o.name[2:]}
	for word := range strings.SplitSeq(value, ",") {
		ports, ok := portRange(word)
		if !ok {
			return nil, false
		}
		m.Ranges = append(m.Ranges, ports)
	}
	return m, true
}

func (m Multiport) appendTo(b []byte) []byte {
	b = appendOption(append(b, "-m multiport "...), "--"+m.Option, m.Not, m.NotAfter)
	for i, ports := range m.Ranges {
		if i > 0 {
			b = append(b, ',')
		}
		b = ports.appendTo(b)
	}
	return b
}
