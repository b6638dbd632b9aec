// SPDX-License-Identifier: Apache-2.0

package main

import "io"

// plain writes text for people in which whatever comes from a dump must not steer
// their terminal: of control characters only newlines, tabs and the colours of this
// program pass, all others are shown as ^X. What an incomplete sequence at the end
// has is lost.
type plain struct {
	w    io.Writer
	held []byte // the beginning of a sequence
}

// mostColour is how long an escape sequence for colours is at most.
const mostColour = 16

// printable is s with both outputs made plain.
func (s streams) printable() streams {
	s.out, s.err = &plain{w: s.out}, &plain{w: s.err}
	return s
}

func (p *plain) Write(text []byte) (int, error) {
	out := make([]byte, 0, len(text)+mostColour)
	for _, c := range text {
		out = p.next(out, c)
	}
	if _, err := p.w.Write(out); err != nil {
		return 0, err
	}
	return len(text), nil
}

// next appends what is known to be written once c was read.
func (p *plain) next(out []byte, c byte) []byte {
	switch n := len(p.held); {
	case n == 0:
	case p.held[0] == lead && c >= 0x80 && c < 0xa0: // a control character beyond ASCII
		p.held = p.held[:0]
		return append(out, '^', c-0x40)
	case p.held[0] == lead:
		out = append(out, lead)
		p.held = p.held[:0]
	case n == 1 && c == '[', n > 1 && n < mostColour && (c >= '0' && c <= '9' || c == ';'):
		p.held = append(p.held, c)
		return out
	case n > 1 && c == 'm':
		out = append(append(out, p.held...), c)
		p.held = p.held[:0]
		return out
	default:
		out = append(append(out, '^', '['), p.held[1:]...)
		p.held = p.held[:0]
	}
	switch {
	case c == escape || c == lead:
		p.held = append(p.held, c)
	case c == 0x7f || c < ' ' && c != '\n' && c != '\t':
		out = append(out, '^', c^0x40)
	default:
		out = append(out, c)
	}
	return out
}

const (
	escape = 0x1b
	// lead is the first byte of the control characters U+0080 to U+009F in UTF-8, and
	// of the letters after them.
	lead = 0xc2
)
