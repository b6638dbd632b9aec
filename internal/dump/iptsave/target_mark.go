// SPDX-License-Identifier: Apache-2.0

package iptsave

// readMarkOp reads --set-xmark and its older relatives.
func readMarkOp(c *cursor) (op MarkOp, ok bool) {
	o, _ := c.option()
	word, _ := c.word()
	value, mask, bare, ok := valueMask(word)
	if !ok || o.not {
		return op, false
	}
	op = MarkOp{Value: value, Mask: mask, NoMask: bare, Decimal: isDecimal(word)}
	switch o.name {
	case "--set-xmark":
	case "--set-mark":
		op.Mask |= op.Value
	case "--and-mark":
		op.Value, op.Mask = 0, ^value
	case "--or-mark":
		op.Mask = value
	case "--xor-mark":
		op.Mask = 0
	default:
		return op, false
	}
	op.Option = o.name[2:]
	return op, true
}

func (o MarkOp) appendTo(b []byte) []byte {
	option := o.Option
	if option == "" {
		option = "set-xmark"
	}
	b = append(append(append(b, " --"...), option...), ' ')
	switch option {
	case "and-mark":
		return appendMark(b, ^o.Mask, o.Decimal)
	case "or-mark", "xor-mark":
		return appendMark(b, o.Value, o.Decimal)
	}
	return appendValueMask(b, o.Value, o.Mask, o.NoMask, o.Decimal)
}

func (t SetMark) appendTo(b []byte) []byte { return t.MarkOp.appendTo(append(b, "-j MARK"...)) }

func (t SetConnmark) appendTo(b []byte) []byte {
	return t.MarkOp.appendTo(append(b, "-j CONNMARK"...))
}

// Save is the connection's mark after it.
func (t SaveMark) Save(connmark, mark uint32) uint32 {
	return connmark&^t.CTMask ^ mark&t.NFMask
}

// Restore is the packet's mark after it.
func (t RestoreMark) Restore(mark, connmark uint32) uint32 {
	return mark&^t.NFMask ^ connmark&t.CTMask
}

func readConnmark(c *cursor) (Target, bool) {
	switch c.peek() {
	case "--save-mark":
		c.at++
		masks, ok := readMasks(c)
		return masks, ok
	case "--restore-mark":
		c.at++
		masks, ok := readMasks(c)
		return RestoreMark(masks), ok
	}
	op, ok := readMarkOp(c)
	return SetConnmark{op}, ok
}

func readMasks(c *cursor) (t SaveMark, ok bool) {
	t = SaveMark{NFMask: all, CTMask: all, NoMasks: true}
	for c.moreOptions() {
		o, _ := c.option()
		word, _ := c.word()
		mask, ok := number(word)
		if !ok {
			return t, false
		}
		switch o.name {
		case "--nfmask":
			t.NFMask, t.NoMasks = mask, false
		case "--ctmask":
			t.CTMask, t.NoMasks = mask, false
		case "--mask":
			t.NFMask, t.CTMask, t.NoMasks, t.OneMask = mask, mask, false, true
		default:
			return t, false
		}
	}
	return t, true
}

func (t SaveMark) appendTo(b []byte) []byte {
	return t.appendMasks(append(b, "-j CONNMARK --save-mark"...))
}

func (t RestoreMark) appendTo(b []byte) []byte {
	return SaveMark(t).appendMasks(append(b, "-j CONNMARK --restore-mark"...))
}

func (t SaveMark) appendMasks(b []byte) []byte {
	switch {
	case t.NoMasks:
		return b
	case t.OneMask:
		return appendHex(append(b, " --mask "...), t.NFMask)
	}
	b = appendHex(append(b, " --nfmask "...), t.NFMask)
	return appendHex(append(b, " --ctmask "...), t.CTMask)
}
