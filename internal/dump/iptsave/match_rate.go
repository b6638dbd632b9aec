// SPDX-License-Identifier: Apache-2.0

package iptsave

func parseRecent(c *cursor) (Match, bool) {
	var m Recent
	for c.moreOptions() {
		o, _ := c.option()
		if o.not && m.Action != "" {
			return nil, false
		}
		if !m.read(c, o) {
			return nil, false
		}
		m.Not = m.Not || o.not
	}
	return m, m.Action != ""
}

func (m *Recent) read(c *cursor, o option) (ok bool) {
	switch o.name {
	case "--set", "--rcheck", "--update", "--remove":
		m.Action = o.name[2:]
		return true
	case "--reap":
		m.Reap = true
		return true
	case "--rttl":
		m.TTL = true
		return true
	case "--rsource":
		m.Dest = false
		return true
	case "--rdest":
		m.Dest = true
		return true
	}
	value, ok := c.word()
	switch o.name {
	case "--seconds":
		m.Seconds, ok = decimal(value)
	case "--hitcount":
		m.HitCount, ok = decimal(value)
	case "--name":
		m.Name = value
	case "--mask":
		m.Mask = value
	default:
		return false
	}
	return ok
}

func (m Recent) appendTo(b []byte) []byte {
	b = append(b, "-m recent "...)
	if m.Not {
		b = append(b, "! "...)
	}
	b = append(append(b, "--"...), m.Action...)
	if m.Seconds != 0 {
		b = appendDecimal(append(b, " --seconds "...), m.Seconds)
	}
	b = appendFlag(b, m.Reap, "--reap")
	if m.HitCount != 0 {
		b = appendDecimal(append(b, " --hitcount "...), m.HitCount)
	}
	b = appendFlag(b, m.TTL, "--rttl")
	if m.Name != "" {
		b = append(append(b, " --name "...), m.Name...)
	}
	if m.Mask != "" {
		b = append(append(b, " --mask "...), m.Mask...)
	}
	b = appendFlag(b, !m.Dest, "--rsource")
	return appendFlag(b, m.Dest, "--rdest")
}

func parseHashLimit(c *cursor) (Match, bool) {
	o, _ := c.option()
	var m HashLimit
	switch {
	case o.name == "--hashlimit-upto" && !o.not:
	case o.name == "--hashlimit-above" && !o.not:
		m.Above = true
	default:
		return nil, false
	}
	m.Rate, _ = c.word()
	m.Rest = c.rest()
	return m, m.Rate != ""
}

func (m HashLimit) appendTo(b []byte) []byte {
	name := "--hashlimit-upto"
	if m.Above {
		name = "--hashlimit-above"
	}
	b = append(append(b, "-m hashlimit "...), name...)
	return appendWords(append(append(b, ' '), m.Rate...), m.Rest)
}

func parseAccount(c *cursor) (Match, bool) {
	o, _ := c.option()
	name, ok := c.word()
	return Account{Name: name}, ok && o.name == "--nfacct-name" && !o.not
}

func (m Account) appendTo(b []byte) []byte {
	return append(append(b, "-m nfacct --nfacct-name "...), m.Name...)
}
