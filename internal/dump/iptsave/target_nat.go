// SPDX-License-Identifier: Apache-2.0

package iptsave

import (
	"net/netip"
	"slices"
	"strconv"
	"strings"
)

func tproxyOrder() []string { return []string{"--on-port", "--on-ip", "--tproxy-mark"} }

func readTPROXY(c *cursor) (Target, bool) {
	var t TPROXY
	for c.moreOptions() {
		o, _ := c.option()
		word, _ := c.word()
		var ok bool
		switch o.name {
		case "--on-port":
			t.Port, ok = port(word)
		case "--on-ip":
			var err error
			t.IP, err = netip.ParseAddr(word)
			ok = err == nil && t.IP.Zone() == ""
		case "--tproxy-mark":
			t.Value, t.Mask, _, ok = valueMask(word)
			t.HasMark, t.Decimal = true, isDecimal(word)
		}
		if !ok || o.not {
			return nil, false
		}
		t.Order = append(t.Order, o.name)
	}
	if slices.Equal(t.Order, t.usualOrder()) {
		t.Order = nil
	}
	return t, true
}

// usualOrder is the order in which iptables-save prints the options that are there.
func (t TPROXY) usualOrder() []string {
	return slices.DeleteFunc(tproxyOrder(), func(name string) bool {
		return name == "--on-ip" && !t.IP.IsValid() || name == "--tproxy-mark" && !t.HasMark
	})
}

func (t TPROXY) appendTo(b []byte) []byte {
	order := t.Order
	if order == nil {
		order = t.usualOrder()
	}
	b = append(b, "-j TPROXY"...)
	for _, name := range order {
		b = append(append(append(b, ' '), name...), ' ')
		switch name {
		case "--on-port":
			b = appendDecimal(b, uint32(t.Port))
		case "--on-ip":
			b = t.IP.AppendTo(b)
		case "--tproxy-mark":
			b = appendValueMask(b, t.Value, t.Mask, false, t.Decimal)
		}
	}
	return b
}

// natOption is the option that says where a kind of NAT leads to.
func natOption(kind string) string {
	switch kind {
	case "DNAT":
		return "--to-destination"
	case "SNAT":
		return "--to-source"
	case "NETMAP":
		return "--to"
	}
	return "--to-ports"
}

func readNAT(c *cursor, kind string) (Target, bool) {
	t := NAT{Kind: kind}
	option := natOption(kind)
	if c.peek() == option || option == "--to-ports" && c.peek() == "--to-port" {
		t.ToPort = c.peek() != option
		c.at++
		t.To, _ = c.word()
		if !t.readTo() {
			return nil, false
		}
	}
	for c.moreOptions() {
		o, _ := c.option()
		switch o.name {
		case "--random", "--random-fully", "--persistent":
		default:
			return nil, false
		}
		if o.not {
			return nil, false
		}
		t.Rest = append(t.Rest, o.name)
	}
	return t, t.To != "" || kind == "MASQUERADE" || kind == "REDIRECT"
}

// readTo takes To apart.
func (t *NAT) readTo() bool {
	switch t.Kind {
	case "NETMAP":
		prefix, err := netip.ParsePrefix(t.To)
		t.Low, t.High = prefix.Addr(), prefix.Addr()
		return err == nil
	case "MASQUERADE", "REDIRECT":
		return t.readPorts(t.To)
	}
	addresses, ports := t.To, ""
	switch {
	case strings.HasPrefix(t.To, "["):
		end := strings.IndexByte(t.To, ']')
		if end < 0 || end+1 < len(t.To) && t.To[end+1] != ':' {
			return false
		}
		addresses, ports = t.To[1:end], strings.TrimPrefix(t.To[end+1:], ":")
	case strings.Count(t.To, ":") == 1:
		addresses, ports, _ = strings.Cut(t.To, ":")
	}
	return t.readAddresses(addresses) && (ports == "" || t.readPorts(ports))
}

func (t *NAT) readAddresses(word string) bool {
	if word == "" {
		return true
	}
	low, high, isRange := strings.Cut(word, "-")
	if !isRange {
		high = low
	}
	var errLow, errHigh error
	t.Low, errLow = netip.ParseAddr(low)
	t.High, errHigh = netip.ParseAddr(high)
	return errLow == nil && errHigh == nil
}

func (t *NAT) readPorts(word string) bool {
	low, high, isRange := strings.Cut(word, "-")
	if !isRange {
		high = low
	}
	l, errLow := strconv.ParseUint(low, 10, 16)
	h, errHigh := strconv.ParseUint(high, 10, 16)
	t.LowPort, t.HighPort = uint16(l), uint16(h)
	return errLow == nil && errHigh == nil
}

func (t NAT) appendTo(b []byte) []byte {
	b = append(append(b, "-j "...), t.Kind...)
	if t.To != "" {
		option := natOption(t.Kind)
		if t.ToPort {
			option = "--to-port"
		}
		b = append(append(append(append(b, ' '), option...), ' '), t.To...)
	}
	return appendWords(b, t.Rest)
}
