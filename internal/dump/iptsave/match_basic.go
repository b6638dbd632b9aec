// SPDX-License-Identifier: Apache-2.0

package iptsave

// basicMatch reads a condition that needs no module: -p, -s, -d, -i, -o, -f. The
// "!" in front of it, if any, has been taken.
func basicMatch(c *cursor, name string, not bool) (Match, bool) {
	o := option{name: name, not: not}
	if name == "-f" {
		return Fragment{Not: not}, true
	}
	value, ok := c.value(&o)
	if !ok {
		return nil, false
	}
	switch name {
	case "-p":
		number, ok := protocolNumber(value)
		return Protocol{Not: o.not, NotAfter: o.late, Name: value, Number: number}, ok
	case "-s", "-d":
		s, ok := address(value)
		s.Not, s.NotAfter = o.not, o.late
		if name == "-d" {
			return Destination(s), ok
		}
		return s, ok
	case "-i":
		return InInterface{Not: o.not, NotAfter: o.late, Name: value}, true
	case "-o":
		return OutInterface{Not: o.not, NotAfter: o.late, Name: value}, true
	}
	return nil, false
}

func (m Protocol) appendTo(b []byte) []byte {
	return append(appendOption(b, "-p", m.Not, m.NotAfter), m.Name...)
}

func (s Source) appendTo(b []byte) []byte {
	return s.appendAddress(appendOption(b, "-s", s.Not, s.NotAfter))
}

func (d Destination) appendTo(b []byte) []byte {
	return Source(d).appendAddress(appendOption(b, "-d", d.Not, d.NotAfter))
}

func (m InInterface) appendTo(b []byte) []byte {
	return append(appendOption(b, "-i", m.Not, m.NotAfter), m.Name...)
}

func (m OutInterface) appendTo(b []byte) []byte {
	return append(appendOption(b, "-o", m.Not, m.NotAfter), m.Name...)
}

func (m Fragment) appendTo(b []byte) []byte {
	if m.Not {
		b = append(b, "! "...)
	}
	return append(b, "-f"...)
}

func (m Opaque) appendTo(b []byte) []byte {
	for i, w := range m.Words {
		if i > 0 {
			b = append(b, ' ')
		}
		b = append(b, w...)
	}
	return b
}

// Matches tells whether an interface's name fits the condition without its "!".
func (m InInterface) Matches(device string) bool { return wildcard(m.Name, device) }

// Matches tells whether an interface's name fits the condition without its "!".
func (m OutInterface) Matches(device string) bool { return wildcard(m.Name, device) }

func wildcard(pattern, device string) bool {
	if n := len(pattern) - 1; n >= 0 && pattern[n] == '+' {
		return len(device) >= n && device[:n] == pattern[:n]
	}
	return pattern == device
}
