// SPDX-License-Identifier: Apache-2.0

package iptsave

// readTarget reads what follows "-j NAME"; name is taken. Where the model cannot
// hold it, ok is false.
func readTarget(c *cursor, name string) (Target, bool) {
	switch name {
	case "ACCEPT", "DROP", "RETURN", "QUEUE":
		return Verdict{Name: name}, true
	case "MARK":
		op, ok := readMarkOp(c)
		return SetMark{op}, ok
	case "CONNMARK":
		return readConnmark(c)
	case "TPROXY":
		return readTPROXY(c)
	case "DNAT", "SNAT", "MASQUERADE", "REDIRECT", "NETMAP":
		return readNAT(c, name)
	case "LOG", "NFLOG", "ULOG":
		return readLog(c, name)
	case "REJECT":
		return readReject(c)
	case "CT", "NOTRACK":
		return readCT(c, name)
	case "TCPMSS", "CHECKSUM", "TRACE", "DSCP", "TTL", "HL", "ECN", "TCPOPTSTRIP", "CLASSIFY", "AUDIT", "SECMARK", "CONNSECMARK", "LED", "RATEEST", "IDLETIMER":
		return Pass{Name: name, Words: c.rest()}, true
	case "NFQUEUE", "SET", "TOS", "TEE", "CLUSTERIP", "DNPT", "SNPT", "SYNPROXY", "HMARK", "MIRROR", "SAME", "BALANCE", "TARPIT", "ROUTE":
		return nil, false
	}
	if !c.done() && !c.boundary() {
		return nil, false // a chain takes no options
	}
	return Jump{Chain: name}, true
}

func (t Verdict) appendTo(b []byte) []byte { return append(append(b, "-j "...), t.Name...) }

func (t Jump) appendTo(b []byte) []byte {
	if t.Goto {
		return append(append(b, "-g "...), t.Chain...)
	}
	return append(append(b, "-j "...), t.Chain...)
}

func (t Pass) appendTo(b []byte) []byte {
	return appendWords(append(append(b, "-j "...), t.Name...), t.Words)
}

func (t OpaqueTarget) appendTo(b []byte) []byte {
	return appendWords(append(append(b, "-j "...), t.Name...), t.Words)
}

func readLog(c *cursor, kind string) (Target, bool) {
	from := c.at
	t := Log{Kind: kind}
	for c.moreOptions() {
		o, _ := c.option()
		switch o.name {
		case "--log-prefix", "--nflog-prefix", "--ulog-prefix":
			word, _ := c.word()
			t.Prefix, _ = unquote(word)
		default:
			if !c.done() && !c.moreOptions() && !c.boundary() {
				c.at++ // its argument
			}
		}
	}
	t.Words = append(t.Words, c.words[from:c.at]...)
	return t, true
}

func (t Log) appendTo(b []byte) []byte {
	return appendWords(append(append(b, "-j "...), t.Kind...), t.Words)
}

func readReject(c *cursor) (Target, bool) {
	if !c.moreOptions() {
		return Reject{}, true
	}
	o, _ := c.option()
	with, _ := c.word()
	return Reject{With: with}, o.name == "--reject-with" && with != ""
}

func (t Reject) appendTo(b []byte) []byte {
	b = append(b, "-j REJECT"...)
	if t.With == "" {
		return b
	}
	return append(append(b, " --reject-with "...), t.With...)
}

func readCT(c *cursor, name string) (Target, bool) {
	if name == "NOTRACK" {
		return CT{Old: true, NoTrack: true}, true
	}
	var t CT
	if c.peek() == "--notrack" {
		c.at++
		t.NoTrack = true
	}
	t.Rest = c.rest()
	return t, true
}

func (t CT) appendTo(b []byte) []byte {
	if t.Old {
		return append(b, "-j NOTRACK"...)
	}
	return appendWords(appendFlag(append(b, "-j CT"...), t.NoTrack, "--notrack"), t.Rest)
}
