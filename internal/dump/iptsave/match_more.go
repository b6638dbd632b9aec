// SPDX-License-Identifier: Apache-2.0

package iptsave

import (
	"net/netip"
	"strconv"
	"strings"
)

func parseStatistic(c *cursor) (Match, bool) {
	var m Statistic
	for c.moreOptions() {
		o, _ := c.option()
		value, ok := c.word()
		switch o.name {
		case "--mode":
			m.Mode = value
		case "--probability":
			m.Probability, m.Not = value, o.not
			p, err := strconv.ParseFloat(value, 64)
			ok = ok && err == nil && p >= 0 && p <= 1
		case "--every":
			m.Every, ok = decimal(value)
			m.Not = o.not
		case "--packet":
			m.Packet, ok = decimal(value)
		default:
			return nil, false
		}
		if !ok {
			return nil, false
		}
	}
	return m, m.Mode == "random" && m.Probability != "" || m.Mode == "nth" && m.Every > 0
}

func (m Statistic) appendTo(b []byte) []byte {
	b = append(append(b, "-m statistic --mode "...), m.Mode...)
	if m.Mode == "random" {
		return append(appendOption(append(b, ' '), "--probability", m.Not, false), m.Probability...)
	}
	b = appendDecimal(appendOption(append(b, ' '), "--every", m.Not, false), m.Every)
	return appendDecimal(append(b, " --packet "...), m.Packet)
}

func parseLimit(c *cursor) (Match, bool) {
	var m Limit
	for c.moreOptions() {
		o, _ := c.option()
		value, ok := c.word()
		switch o.name {
		case "--limit":
			m.Rate = value
		case "--limit-burst":
			m.Burst, ok = decimal(value)
		default:
			return nil, false
		}
		if !ok || o.not {
			return nil, false
		}
	}
	return m, m.Rate != ""
}

func (m Limit) appendTo(b []byte) []byte {
	b = append(append(b, "-m limit --limit "...), m.Rate...)
	if m.Burst == 0 {
		return b
	}
	return appendDecimal(append(b, " --limit-burst "...), m.Burst)
}

func parseICMP(module string) func(*cursor) (Match, bool) {
	return func(c *cursor) (Match, bool) { return readICMP(c, module) }
}

func icmpOption(module string) string {
	if module != "icmp" {
		return "--icmpv6-type"
	}
	return "--icmp-type"
}

func readICMP(c *cursor, module string) (Match, bool) {
	o, _ := c.option()
	value, _ := c.value(&o)
	m := ICMP{Module: module, Not: o.not, NotAfter: o.late, Any: value == "any"}
	if o.name != icmpOption(module) {
		return nil, false
	}
	if m.Any {
		return m, true
	}
	kind, code, hasCode := strings.Cut(value, "/")
	n, err := strconv.ParseUint(kind, 10, 8)
	m.Type = uint8(n)
	if err != nil || !hasCode {
		return m, err == nil
	}
	n, err = strconv.ParseUint(code, 10, 8)
	only := uint8(n)
	m.Code = &only
	return m, err == nil
}

func (m ICMP) appendTo(b []byte) []byte {
	b = append(append(append(b, "-m "...), m.Module...), ' ')
	b = appendOption(b, icmpOption(m.Module), m.Not, m.NotAfter)
	if m.Any {
		return append(b, "any"...)
	}
	b = appendDecimal(b, uint32(m.Type))
	if m.Code != nil {
		b = appendDecimal(append(b, '/'), uint32(*m.Code))
	}
	return b
}

func parseIPRange(c *cursor) (Match, bool) {
	var m IPRange
	for c.moreOptions() {
		o, _ := c.option()
		value, _ := c.word()
		low, high, ok := addressRange(value)
		switch o.name {
		case "--src-range":
			m.SourceLow, m.SourceHigh, m.NotSource = low, high, o.not
		case "--dst-range":
			m.DestLow, m.DestHigh, m.NotDest = low, high, o.not
		default:
			return nil, false
		}
		if !ok {
			return nil, false
		}
	}
	return m, true
}

func addressRange(word string) (low, high netip.Addr, ok bool) {
	l, h, isRange := strings.Cut(word, "-")
	low, errLow := netip.ParseAddr(l)
	if !isRange {
		return low, low, false
	}
	high, errHigh := netip.ParseAddr(h)
	return low, high, errLow == nil && errHigh == nil && low.Zone() == "" && high.Zone() == ""
}

func (m IPRange) appendTo(b []byte) []byte {
	b = append(b, "-m iprange"...)
	if m.SourceLow.IsValid() {
		b = m.SourceLow.AppendTo(appendOption(append(b, ' '), "--src-range", m.NotSource, false))
		b = m.SourceHigh.AppendTo(append(b, '-'))
	}
	if m.DestLow.IsValid() {
		b = m.DestLow.AppendTo(appendOption(append(b, ' '), "--dst-range", m.NotDest, false))
		b = m.DestHigh.AppendTo(append(b, '-'))
	}
	return b
}

func parsePhysDev(c *cursor) (Match, bool) {
	var m PhysDev
	for c.moreOptions() {
		o, _ := c.option()
		switch o.name {
		case "--physdev-in":
			m.In, _ = c.word()
			m.NotIn = o.not
		case "--physdev-out":
			m.Out, _ = c.word()
			m.NotOut = o.not
		case "--physdev-is-in":
			m.IsIn, m.NotIsIn = true, o.not
		case "--physdev-is-out":
			m.IsOut, m.NotIsOut = true, o.not
		case "--physdev-is-bridged":
			m.IsBridged, m.NotIsBridged = true, o.not
		default:
			return nil, false
		}
	}
	return m, true
}

func (m PhysDev) appendTo(b []byte) []byte {
	b = append(b, "-m physdev"...)
	flag := func(set, not bool, name string) {
		if set && not {
			b = append(b, " !"...)
		}
		b = appendFlag(b, set, name)
	}
	flag(m.IsIn, m.NotIsIn, "--physdev-is-in")
	if m.In != "" {
		b = append(appendOption(append(b, ' '), "--physdev-in", m.NotIn, false), m.In...)
	}
	flag(m.IsOut, m.NotIsOut, "--physdev-is-out")
	if m.Out != "" {
		b = append(appendOption(append(b, ' '), "--physdev-out", m.NotOut, false), m.Out...)
	}
	flag(m.IsBridged, m.NotIsBridged, "--physdev-is-bridged")
	return b
}

func parseCPU(c *cursor) (Match, bool) {
	o, _ := c.option()
	value, _ := c.value(&o)
	n, ok := decimal(value)
	return CPU{Not: o.not, CPU: n}, ok && o.name == "--cpu"
}

func (m CPU) appendTo(b []byte) []byte {
	return appendDecimal(appendOption(append(b, "-m cpu "...), "--cpu", m.Not, false), m.CPU)
}
