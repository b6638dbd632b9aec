// SPDX-License-Identifier: Apache-2.0

package trace

import (
	"net/netip"
	"slices"
	"strconv"
	"strings"

	"github.com/ambient22/ambient22/internal/dump/iptsave"
)

// Bits of the states that -m conntrack asks for.
const (
	stateNew uint32 = 1 << iota
	stateEstablished
	stateRelated
	stateInvalid
	stateUntracked
	stateSNAT
	stateDNAT
)

var stateNames = map[string]uint32{
	"NEW": stateNew, "ESTABLISHED": stateEstablished, "RELATED": stateRelated, "INVALID": stateInvalid,
	"UNTRACKED": stateUntracked, "SNAT": stateSNAT, "DNAT": stateDNAT,
}

// compileMatch appends what one Match asks.
func (k *compiler) compileMatch(at int, m iptsave.Match) {
	switch m := m.(type) {
	case iptsave.Comment:
	case iptsave.Protocol:
		if m.Number != 0 { // "all" asks nothing
			k.cond(cond{kind: condProtocol, not: m.Not, a: uint32(m.Number)}, at)
		}
	case iptsave.Source:
		k.address(condSource, m, at)
	case iptsave.Destination:
		k.address(condDest, iptsave.Source(m), at)
	case iptsave.InInterface:
		k.device(condIn, m, at)
	case iptsave.OutInterface:
		k.device(condOut, iptsave.InInterface(m), at)
	case iptsave.Fragment:
		k.cond(cond{kind: condFragment, not: m.Not}, at)
	case iptsave.Ports:
		k.ports(m, at)
	case iptsave.Multiport:
		k.multiport(m, at)
	case iptsave.Mark:
		k.cond(cond{kind: condMark, not: m.Not, a: m.Value, b: m.Mask}, at)
	case iptsave.Connmark:
		k.cond(cond{kind: condConnmark, not: m.Not, a: m.Value, b: m.Mask}, at)
	case iptsave.Set:
		k.setMatch(m, at)
	case iptsave.State:
		k.state(m, at)
	case iptsave.AddrType:
		k.addrType(m, at)
	case iptsave.ICMP:
		if m.Module == "icmp6" {
			k.cond(cond{kind: condNever}, at)
			return
		}
		k.cond(cond{kind: condICMP, not: m.Not, match: m}, at)
	case iptsave.IPRange:
		k.ipRange(condSourceRange, m.SourceLow, m.SourceHigh, m.NotSource, at)
		k.ipRange(condDestRange, m.DestLow, m.DestHigh, m.NotDest, at)
	default:
		k.compileRare(at, m)
	}
}

// compileRare is for conditions on what is not in the packet.
func (k *compiler) compileRare(at int, m iptsave.Match) {
	switch m := m.(type) {
	case iptsave.Statistic:
		if m.Mode == "nth" && m.Every > 0 {
			k.cond(cond{kind: condNth, not: m.Not, a: m.Every, b: m.Packet, match: m}, at)
			k.counters++
			return
		}
		k.cond(cond{kind: condRandom, not: m.Not, match: m}, at)
	case iptsave.Owner:
		k.cond(cond{kind: condOwner, match: m}, at)
	case iptsave.Socket:
		k.cond(cond{kind: condSocket, match: m}, at)
	case iptsave.PhysDev:
		k.cond(cond{kind: condPhysDev, match: m}, at)
	case iptsave.Limit:
		k.cond(cond{kind: condAssumed, match: m}, at)
	case iptsave.HashLimit:
		if m.Above {
			k.cond(cond{kind: condNever, match: m}, at)
			return
		}
		k.cond(cond{kind: condAssumed, match: m}, at)
	case iptsave.Recent:
		if m.Action == "set" && !m.Not {
			return
		}
		k.cond(cond{kind: condUnknown, match: m}, at)
	case iptsave.Opaque:
		k.opaque(m, at)
	default:
		k.cond(cond{kind: condUnknown, match: m}, at)
	}
}

// opaque finds those that the parser keeps word by word and that can be asked.
func (k *compiler) opaque(m iptsave.Opaque, at int) {
	if m.Module != "rpfilter" {
		k.cond(cond{kind: condUnknown, match: m}, at)
		return
	}
	c := cond{kind: condReverse, match: m}
	for _, word := range m.Words {
		switch word {
		case "-m", "rpfilter":
		case "--loose":
			c.a |= reverseLoose
		case "--validmark":
			c.a |= reverseMark
		case "--accept-local":
			c.a |= reverseLocal
		case "--invert":
			c.not = true
		default:
			c.kind = condUnknown
		}
	}
	k.cond(c, at)
}

func (k *compiler) cond(c cond, at int) {
	c.at = uint16(at)
	k.conds = append(k.conds, c)
}

func (k *compiler) address(kind condKind, m iptsave.Source, at int) {
	c := cond{kind: kind, not: m.Not}
	var ok bool
	if m.Prefix.IsValid() {
		c.a, ok = number(m.Prefix.Addr())
		c.b = maskOf(m.Prefix.Bits())
	} else {
		var ok2 bool
		c.a, ok = number(m.Addr)
		c.b, ok2 = number(m.Mask)
		ok = ok && ok2
	}
	if !ok {
		c = cond{kind: condNever} // an IPv6 address
	}
	c.a &= c.b
	k.cond(c, at)
}

func (k *compiler) device(kind condKind, m iptsave.InInterface, at int) {
	name := m.Name
	if prefix, wild := strings.CutSuffix(name, "+"); wild {
		name = prefix
		kind++ // condInPrefix follows condIn, condOutPrefix condOut
	}
	k.cond(cond{kind: kind, not: m.Not, name: k.intern(name)}, at)
}

func (k *compiler) ports(m iptsave.Ports, at int) {
	if m.Source != nil {
		k.cond(cond{kind: condSourcePort, not: m.NotSource, lo: m.Source.Low, hi: m.Source.High}, at)
	}
	if m.Dest != nil {
		k.cond(cond{kind: condDestPort, not: m.NotDest, lo: m.Dest.Low, hi: m.Dest.High}, at)
	}
	if m.FlagMask != 0 {
		k.cond(cond{kind: condFlags, not: m.NotFlags, a: uint32(m.FlagSet), b: uint32(m.FlagMask)}, at)
	}
	if len(m.Rest) > 0 {
		k.cond(cond{kind: condUnknown, match: m}, at)
	}
}

func (k *compiler) multiport(m iptsave.Multiport, at int) {
	kind := condMultiBoth
	switch m.Option {
	case "sports", "source-ports":
		kind = condMultiSource
	case "dports", "destination-ports":
		kind = condMultiDest
	}
	k.cond(cond{kind: kind, not: m.Not, ports: m.Ranges}, at)
}

func (k *compiler) setMatch(m iptsave.Set, at int) {
	c := cond{kind: condSet, not: m.Not, set: k.space.sets[m.Name], match: m}
	for _, d := range m.Directions {
		c.dirs = append(c.dirs, d == "src")
	}
	if len(m.Rest) > 0 {
		c.kind = condUnknown
	}
	k.cond(c, at)
}

func (k *compiler) state(m iptsave.State, at int) {
	c := cond{kind: condState, not: m.Not, match: m}
	for _, name := range m.States {
		bit, ok := stateNames[name]
		if !ok {
			c.kind = condUnknown
		}
		c.a |= bit
	}
	if m.Module != "state" {
		c.lo = 1 // conntrack's own states SNAT and DNAT count
	}
	if len(m.States) > 0 {
		k.cond(c, at)
	}
	if len(m.Rest) == 0 {
		return
	}
	if options, ok := readConnOptions(m.Rest); ok {
		k.cond(cond{kind: condConn, conn: options, match: m}, at)
		return
	}
	k.cond(cond{kind: condUnknown, match: m}, at)
}

func (k *compiler) addrType(m iptsave.AddrType, at int) {
	k.addrTypes(condSourceType, m.Source, m.NotSource, m, at)
	k.addrTypes(condDestType, m.Dest, m.NotDest, m, at)
}

func (k *compiler) addrTypes(kind condKind, list string, not bool, m iptsave.AddrType, at int) {
	if list == "" {
		return
	}
	c := cond{kind: kind, not: not, match: m}
	for name := range strings.SplitSeq(list, ",") {
		bit, ok := addressTypes[name]
		if !ok {
			c.kind = condUnknown
		}
		c.a |= uint32(bit)
	}
	switch {
	case m.LimitIn:
		c.lo = limitIn
	case m.LimitOut:
		c.lo = limitOut
	}
	k.cond(c, at)
}

func (k *compiler) ipRange(kind condKind, low, high netip.Addr, not bool, at int) {
	if !low.IsValid() {
		return
	}
	a, ok1 := number(low)
	b, ok2 := number(high)
	if !ok1 || !ok2 {
		k.cond(cond{kind: condNever}, at)
		return
	}
	k.cond(cond{kind: kind, not: not, a: a, b: b}, at)
}

func probability(c *cond) float64 {
	m := c.match.(iptsave.Statistic)
	p, err := strconv.ParseFloat(m.Probability, 64)
	if err != nil {
		return 0
	}
	if m.Not {
		return 1 - p
	}
	return p
}

// reserved are conditions that were taken to hold, for a word in Walk.Doubt.
func reserved(conds []cond) *cond {
	i := slices.IndexFunc(conds, func(c cond) bool { return c.kind == condAssumed })
	if i < 0 {
		return nil
	}
	return &conds[i]
}
