// SPDX-License-Identifier: Apache-2.0

package nodediff

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/ambient22/ambient22/internal/dump/iptsave"
)

// ruleItem is one rule of a chain. Counters and comments do not count: they change
// nothing about a packet.
func ruleItem(r *iptsave.Rule, names aliases) item {
	var fields []attr
	for _, m := range r.Matches {
		fields = append(fields, matchFields(m, names)...)
	}
	fields = append(fields, targetFields(r.Target)...)
	it := newItem(ruleText(r), fields)
	it.lineNo = r.Line
	return it
}

// ruleText is a rule without the packets that it has counted.
func ruleText(r *iptsave.Rule) string {
	if r.Counters == nil {
		return r.String()
	}
	plain := *r
	plain.Counters = nil
	return plain.String()
}

// aliases are other names for devices: what counts is which device it is, not how
// it is called.
type aliases map[string]string

func (a aliases) of(device string) string {
	if other, is := a[device]; is {
		return other
	}
	return device
}

// not writes a negated value the way iptables-save does.
func not(negated bool, value string) string {
	if negated {
		return "! " + value
	}
	return value
}

func matchFields(m iptsave.Match, names aliases) []attr {
	switch m := byValue(m).(type) {
	case iptsave.Protocol:
		return []attr{{"-p", not(m.Not, protocolName(m))}}
	case iptsave.Source:
		return []attr{{"-s", not(m.Not, addressText(m))}}
	case iptsave.Destination:
		return []attr{{"-d", not(m.Not, addressText(iptsave.Source(m)))}}
	case iptsave.InInterface:
		return []attr{{"-i", not(m.Not, names.of(m.Name))}}
	case iptsave.OutInterface:
		return []attr{{"-o", not(m.Not, names.of(m.Name))}}
	case iptsave.Mark:
		return marked("mark", not(m.Not, hex(m.Value)), m.Mask)
	case iptsave.Connmark:
		return marked("connmark", not(m.Not, hex(m.Value)), m.Mask)
	case iptsave.Ports:
		return portFields(m)
	case iptsave.Set:
		return []attr{{"--match-set", not(m.Not, m.Name)}, {"set direction", strings.Join(m.Directions, ",")}}
	case iptsave.State:
		states := slices.Sorted(slices.Values(m.States))
		return append([]attr{{"state", not(m.Not, strings.Join(states, ","))}}, words("state option", m.Rest)...)
	case iptsave.Owner:
		return ownerFields(m)
	case iptsave.Comment:
		return nil
	}
	return []attr{{"condition", m.String()}}
}

// byValue lets parsers keep conditions by value or by pointer.
func byValue(m iptsave.Match) any {
	switch m := m.(type) {
	case *iptsave.Protocol:
		return *m
	case *iptsave.Source:
		return *m
	case *iptsave.Destination:
		return *m
	case *iptsave.InInterface:
		return *m
	case *iptsave.OutInterface:
		return *m
	case *iptsave.Mark:
		return *m
	case *iptsave.Connmark:
		return *m
	case *iptsave.Ports:
		return *m
	case *iptsave.Set:
		return *m
	case *iptsave.State:
		return *m
	case *iptsave.Owner:
		return *m
	case *iptsave.Comment:
		return *m
	}
	return m
}

// marked are a mark and its mask, which people change one by one.
func marked(name, value string, mask uint32) []attr {
	return []attr{{name, value}, {name + " mask", hex(mask)}}
}

func hex(v uint32) string { return fmt.Sprintf("%#x", v) }

func protocolName(p iptsave.Protocol) string {
	switch p.Number {
	case 1:
		return "icmp"
	case 6:
		return "tcp"
	case 17:
		return "udp"
	}
	return p.Name
}

func addressText(s iptsave.Source) string {
	if s.Mask.IsValid() {
		return s.Prefix.Addr().String() + "/" + s.Mask.String()
	}
	return s.Prefix.String()
}

// portFields are the ports of -m tcp and -m udp. The module alone, as iptables-save
// prints it now and then, asks for nothing.
func portFields(m iptsave.Ports) []attr {
	var out []attr
	if m.Source != nil {
		out = append(out, attr{"--sport", not(m.NotSource, rangeText(*m.Source))})
	}
	if m.Dest != nil {
		out = append(out, attr{"--dport", not(m.NotDest, rangeText(*m.Dest))})
	}
	if m.FlagMask != 0 {
		out = append(out, attr{"--tcp-flags", not(m.NotFlags, fmt.Sprintf("%#x/%#x", m.FlagSet, m.FlagMask))})
	}
	return append(out, words("port option", m.Rest)...)
}

func rangeText(r iptsave.PortRange) string {
	if r.Low == r.High {
		return strconv.Itoa(int(r.Low))
	}
	return fmt.Sprintf("%d:%d", r.Low, r.High)
}

func ownerFields(m iptsave.Owner) []attr {
	var out []attr
	if m.UID != "" {
		out = append(out, attr{"--uid-owner", not(m.NotUID, m.UID)})
	}
	if m.GID != "" {
		out = append(out, attr{"--gid-owner", not(m.NotGID, m.GID)})
	}
	if m.SocketExists {
		out = append(out, attr{"--socket-exists", not(m.NotSocket, "yes")})
	}
	return append(out, words("owner option", m.Rest)...)
}

func words(name string, w []string) []attr {
	if len(w) == 0 {
		return nil
	}
	return []attr{{name, strings.Join(w, " ")}}
}

func targetFields(t iptsave.Target) []attr {
	switch t := targetByValue(t).(type) {
	case nil:
		return nil
	case iptsave.Verdict:
		return []attr{{"target", t.Name}}
	case iptsave.Jump:
		if t.Goto {
			return []attr{{"target", "goto " + t.Chain}}
		}
		return []attr{{"target", t.Chain}}
	case iptsave.SetMark:
		return append([]attr{{"target", "MARK"}}, marked("set-xmark", hex(t.Value), t.Mask)...)
	case iptsave.SetConnmark:
		return append([]attr{{"target", "CONNMARK set"}}, marked("set-xmark", hex(t.Value), t.Mask)...)
	case iptsave.SaveMark:
		return []attr{{"target", "CONNMARK save"}, {"nfmask", hex(t.NFMask)}, {"ctmask", hex(t.CTMask)}}
	case iptsave.RestoreMark:
		return []attr{{"target", "CONNMARK restore"}, {"nfmask", hex(t.NFMask)}, {"ctmask", hex(t.CTMask)}}
	case iptsave.TPROXY:
		out := []attr{{"target", "TPROXY"}, {"on-port", strconv.Itoa(int(t.Port))}, {"on-ip", onIP(t)}}
		return append(out, marked("tproxy-mark", hex(t.Value), t.Mask)...)
	case iptsave.NAT:
		return append([]attr{{"target", t.Kind}, {"to", t.To}}, words("nat option", t.Rest)...)
	case iptsave.Log:
		return append([]attr{{"target", t.Kind}}, words("log", t.Words)...)
	case iptsave.Reject:
		return []attr{{"target", "REJECT"}, {"with", t.With}}
	case iptsave.OpaqueTarget:
		return append([]attr{{"target", t.Name}}, words("options", t.Words)...)
	}
	return []attr{{"target", strings.TrimPrefix(t.String(), "-j ")}}
}

// onIP is where TPROXY delivers to; no address and 0.0.0.0 are the same to the kernel.
func onIP(t iptsave.TPROXY) string {
	if !t.IP.IsValid() || t.IP.IsUnspecified() {
		return "0.0.0.0"
	}
	return t.IP.String()
}

func targetByValue(t iptsave.Target) any {
	switch t := t.(type) {
	case *iptsave.Verdict:
		return *t
	case *iptsave.Jump:
		return *t
	case *iptsave.SetMark:
		return *t
	case *iptsave.SetConnmark:
		return *t
	case *iptsave.SaveMark:
		return *t
	case *iptsave.RestoreMark:
		return *t
	case *iptsave.TPROXY:
		return *t
	case *iptsave.NAT:
		return *t
	case *iptsave.Log:
		return *t
	case *iptsave.Reject:
		return *t
	case *iptsave.OpaqueTarget:
		return *t
	}
	return t
}
