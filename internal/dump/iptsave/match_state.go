// SPDX-License-Identifier: Apache-2.0

package iptsave

import "strings"

func parseState(module string) func(*cursor) (Match, bool) {
	return func(c *cursor) (Match, bool) { return readState(c, module) }
}

func stateOption(module string) string {
	if module == "state" {
		return "--state"
	}
	return "--ctstate"
}

func readState(c *cursor, module string) (Match, bool) {
	at := c.at
	o, _ := c.option()
	m := State{Module: module}
	if o.name == stateOption(module) {
		value, _ := c.value(&o)
		m.Not, m.NotAfter, m.States = o.not, o.late, strings.Split(value, ",")
	} else {
		c.at = at
	}
	if c.moreOptions() {
		m.Rest = c.rest()
	}
	for _, s := range m.States {
		switch s {
		case "NEW", "ESTABLISHED", "RELATED", "INVALID", "UNTRACKED":
		case "SNAT", "DNAT":
			if module == "state" {
				return nil, false
			}
		default:
			return nil, false
		}
	}
	return m, true
}

func (m State) appendTo(b []byte) []byte {
	b = append(append(b, "-m "...), m.Module...)
	if m.States != nil {
		b = appendOption(append(b, ' '), stateOption(m.Module), m.Not, m.NotAfter)
		b = appendList(b, m.States)
	}
	return appendWords(b, m.Rest)
}

func parseAddrType(c *cursor) (Match, bool) {
	var m AddrType
	for c.moreOptions() {
		o, _ := c.option()
		switch o.name {
		case "--src-type":
			m.Source, _ = c.word()
			m.NotSource = o.not
		case "--dst-type":
			m.Dest, _ = c.word()
			m.NotDest = o.not
		case "--limit-iface-in":
			m.LimitIn = true
		case "--limit-iface-out":
			m.LimitOut = true
		default:
			return nil, false
		}
	}
	return m, addrTypes(m.Source) && addrTypes(m.Dest)
}

// addrTypes tells that a list has only kinds of addresses that are known.
func addrTypes(list string) bool {
	if list == "" {
		return true
	}
	for kind := range strings.SplitSeq(list, ",") {
		switch kind {
		case "UNSPEC", "UNICAST", "LOCAL", "BROADCAST", "ANYCAST", "MULTICAST", "BLACKHOLE", "UNREACHABLE", "PROHIBIT", "THROW", "NAT", "XRESOLVE":
		default:
			return false
		}
	}
	return true
}

func (m AddrType) appendTo(b []byte) []byte {
	b = append(b, "-m addrtype"...)
	if m.Source != "" {
		b = append(appendOption(append(b, ' '), "--src-type", m.NotSource, false), m.Source...)
	}
	if m.Dest != "" {
		b = append(appendOption(append(b, ' '), "--dst-type", m.NotDest, false), m.Dest...)
	}
	b = appendFlag(b, m.LimitIn, "--limit-iface-in")
	return appendFlag(b, m.LimitOut, "--limit-iface-out")
}

func appendFlag(b []byte, set bool, name string) []byte {
	if !set {
		return b
	}
	return append(append(b, ' '), name...)
}

func parseOwner(c *cursor) (Match, bool) {
	var m Owner
	for c.moreOptions() {
		at := c.at
		o, _ := c.option()
		switch o.name {
		case "--uid-owner":
			m.UID, _ = c.value(&o)
			m.NotUID = o.not
		case "--gid-owner":
			m.GID, _ = c.value(&o)
			m.NotGID = o.not
		case "--socket-exists":
			m.SocketExists, m.NotSocket = true, o.not
		default:
			c.at = at
			m.Rest = c.rest()
			return m, true
		}
	}
	return m, true
}

func (m Owner) appendTo(b []byte) []byte {
	b = append(b, "-m owner"...)
	if m.SocketExists {
		b = append(b, ' ')
		if m.NotSocket {
			b = append(b, "! "...)
		}
		b = append(b, "--socket-exists"...)
	}
	if m.UID != "" {
		b = append(appendOption(append(b, ' '), "--uid-owner", m.NotUID, false), m.UID...)
	}
	if m.GID != "" {
		b = append(appendOption(append(b, ' '), "--gid-owner", m.NotGID, false), m.GID...)
	}
	return appendWords(b, m.Rest)
}

func parseSocket(c *cursor) (Match, bool) {
	var m Socket
	for c.moreOptions() {
		o, _ := c.option()
		switch o.name {
		case "--transparent":
			m.Transparent = true
		case "--nowildcard":
			m.NoWildcard = true
		case "--restore-skmark":
			m.RestoreMark = true
		default:
			return nil, false
		}
	}
	return m, true
}

func (m Socket) appendTo(b []byte) []byte {
	b = appendFlag(append(b, "-m socket"...), m.Transparent, "--transparent")
	return appendFlag(appendFlag(b, m.NoWildcard, "--nowildcard"), m.RestoreMark, "--restore-skmark")
}
