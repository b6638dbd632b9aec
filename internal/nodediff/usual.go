// SPDX-License-Identifier: Apache-2.0

package nodediff

import (
	"net/netip"
	"slices"

	"github.com/ambient22/ambient22/internal/dump/iptsave"
)

// usualText is a rule as iptables-save prints it today, whoever wrote it: addresses,
// devices and the protocol first, options with their module, marks in hexadecimal.
func usualText(r *iptsave.Rule) string {
	usual := iptsave.Rule{Chain: r.Chain}
	protocol := ""
	for _, m := range r.Matches {
		switch v := byValue(m).(type) {
		case iptsave.Comment:
			continue
		case iptsave.Source:
			v.Bare = false
			m = v
		case iptsave.Destination:
			v.Bare = false
			m = v
		case iptsave.Protocol:
			protocol = protocolName(v)
		case iptsave.Ports:
			if v.Module == "" {
				v.Module = protocol
				m = v
			}
		case iptsave.Mark:
			v.Decimal = false
			m = v
		case iptsave.Connmark:
			v.Decimal = false
			m = v
		}
		usual.Matches = append(usual.Matches, m)
	}
	slices.SortStableFunc(usual.Matches, func(a, b iptsave.Match) int { return place(a) - place(b) })
	usual.Target = usualTarget(r.Target)
	return usual.String()
}

// place is where iptables-save prints a condition.
func place(m iptsave.Match) int {
	switch byValue(m).(type) {
	case iptsave.Source:
		return 0
	case iptsave.Destination:
		return 1
	case iptsave.InInterface:
		return 2
	case iptsave.OutInterface:
		return 3
	case iptsave.Protocol:
		return 4
	}
	return 5
}

func usualTarget(t iptsave.Target) iptsave.Target {
	switch v := targetByValue(t).(type) {
	case iptsave.SetMark:
		v.Option, v.NoMask, v.Decimal = "", false, false
		return v
	case iptsave.SetConnmark:
		v.Option, v.NoMask, v.Decimal = "", false, false
		return v
	case iptsave.SaveMark:
		v.NoMasks, v.OneMask = false, false
		return v
	case iptsave.RestoreMark:
		v.NoMasks, v.OneMask = false, false
		return v
	case iptsave.TPROXY:
		v.Order, v.Decimal = nil, false
		if !v.IP.IsValid() {
			v.IP = netip.IPv4Unspecified()
		}
		return v
	case iptsave.NAT:
		v.ToPort = false
		return v
	}
	return t
}
