// SPDX-License-Identifier: Apache-2.0

package xdsdiff

import (
	"bytes"
	"encoding/json"
	"fmt"
	"math"
	"unicode/utf8"
)

// maxDepth is how deep JSON may nest; the deepest Envoy resource stays below 100.
const maxDepth = 2000

// nodeKind is the type of a JSON value.
type nodeKind uint8

const (
	nullNode nodeKind = iota
	boolNode
	numberNode
	stringNode
	objectNode
	arrayNode
)

// node is one value of a parsed text. The nodes of a text stand in the order of the
// text, an object's keys as strings before their values, so a tree of any size is
// one slice of 16 bytes per value.
type node struct {
	start, end uint32 // of the value's text; a string's without its quotes
	after      uint32 // index of the first node behind this one and all below it
	kind       nodeKind
	escaped    bool // a string with a backslash in it
}

// text is a JSON value as bytes, with its nodes.
type text struct {
	data  []byte
	nodes []node
}

// value is one node of a text.
type value struct {
	of *text
	at uint32
}

// syntaxError is a fault in a text, at an offset into it.
type syntaxError struct {
	at  int
	why string
}

func (e *syntaxError) Error() string { return e.why }

// parse reads data, which must be one JSON value, and re-uses the memory of an
// earlier parse. The text keeps data.
func (t *text) parse(data []byte) (value, error) {
	if len(data) > math.MaxUint32 {
		return value{}, &syntaxError{0, "a resource of more than 4 GiB"}
	}
	t.data, t.nodes = data, t.nodes[:0]
	p := parser{t: t}
	if err := p.value(0); err != nil {
		return value{}, err
	}
	p.space()
	if p.pos < len(data) {
		return value{}, p.fault("something behind the value")
	}
	return value{t, 0}, nil
}

type parser struct {
	t   *text
	pos int
}

func (p *parser) fault(why string) error { return &syntaxError{p.pos, why} }

func (p *parser) space() {
	for p.pos < len(p.t.data) {
		switch p.t.data[p.pos] {
		case ' ', '\t', '\n', '\r':
			p.pos++
		default:
			return
		}
	}
}

// peek is the next byte that is no white space, 0 at the end.
func (p *parser) peek() byte {
	p.space()
	if p.pos == len(p.t.data) {
		return 0
	}
	return p.t.data[p.pos]
}

func (p *parser) value(depth int) error {
	if depth > maxDepth {
		return p.fault(fmt.Sprintf("JSON nested deeper than %d", maxDepth))
	}
	switch c := p.peek(); {
	case c == '{':
		return p.object(depth)
	case c == '[':
		return p.array(depth)
	case c == '"':
		return p.string()
	case c == 0:
		return p.fault("the text ends where a value should be")
	default:
		return p.word()
	}
}

// open starts a node and returns its index.
func (p *parser) open(kind nodeKind) int {
	p.t.nodes = append(p.t.nodes, node{start: uint32(p.pos), kind: kind})
	return len(p.t.nodes) - 1
}

func (p *parser) close(at int) {
	n := &p.t.nodes[at]
	n.end, n.after = uint32(p.pos), uint32(len(p.t.nodes))
}

func (p *parser) object(depth int) error {
	at := p.open(objectNode)
	p.pos++
	var seen keySet
	for first := true; ; first = false {
		switch c := p.peek(); {
		case c == '}':
			if !first && p.t.data[p.lastByte()] == ',' {
				return p.fault("a key should follow the comma")
			}
			p.pos++
			p.close(at)
			return nil
		case c != '"':
			return p.fault("an object's key or its end should be here")
		}
		key := value{p.t, uint32(len(p.t.nodes))}
		from := p.pos
		if err := p.string(); err != nil {
			return err
		}
		if !seen.add(key.string()) {
			p.pos = from
			return p.fault(fmt.Sprintf("the key %q stands twice in an object", key.string()))
		}
		if p.peek() != ':' {
			return p.fault("a colon should follow the key")
		}
		p.pos++
		if err := p.value(depth + 1); err != nil {
			return err
		}
		if err := p.comma('}'); err != nil {
			return err
		}
	}
}

func (p *parser) array(depth int) error {
	at := p.open(arrayNode)
	p.pos++
	for first := true; ; first = false {
		if p.peek() == ']' {
			if !first && p.t.data[p.lastByte()] == ',' {
				return p.fault("a value should follow the comma")
			}
			p.pos++
			p.close(at)
			return nil
		}
		if err := p.value(depth + 1); err != nil {
			return err
		}
		if err := p.comma(']'); err != nil {
			return err
		}
	}
}

// comma passes the comma between two members; the end stays for the caller.
func (p *parser) comma(end byte) error {
	switch p.peek() {
	case ',':
		p.pos++
		return nil
	case end:
		return nil
	case 0:
		return p.fault(fmt.Sprintf("the text ends where a comma or %c should be", end))
	}
	return p.fault(fmt.Sprintf("a comma or %c should be here", end))
}

// lastByte is the index of the last byte before the position that is no white space.
func (p *parser) lastByte() int {
	i := p.pos - 1
	for i > 0 && (p.t.data[i] == ' ' || p.t.data[i] == '\t' || p.t.data[i] == '\n' || p.t.data[i] == '\r') {
		i--
	}
	return i
}

// string reads a string. Its escapes are checked here, and undone when it is used.
func (p *parser) string() error {
	quote := p.pos
	at := p.open(stringNode)
	p.pos++
	p.t.nodes[at].start++
	for p.pos < len(p.t.data) {
		switch c := p.t.data[p.pos]; {
		case c == '"':
			p.close(at)
			p.pos++
			if n := p.t.nodes[at]; n.escaped && !json.Valid(p.t.data[n.start-1:n.end+1]) {
				p.pos = quote
				return p.fault("a string with a broken escape")
			}
			return nil
		case c == '\\':
			p.t.nodes[at].escaped = true
			p.pos += 2
		case c < ' ':
			return p.fault("a control character in a string")
		case c < utf8.RuneSelf:
			p.pos++
		default:
			r, size := utf8.DecodeRune(p.t.data[p.pos:])
			if r == utf8.RuneError && size == 1 {
				return p.fault("a string that is not UTF-8")
			}
			p.pos += size
		}
	}
	p.pos = quote
	return p.fault("a string without an end")
}

// word reads true, false, null or a number.
func (p *parser) word() error {
	end := p.pos
	for end < len(p.t.data) && isWordByte(p.t.data[end]) {
		end++
	}
	word := p.t.data[p.pos:end]
	kind := numberNode
	switch {
	case bytes.Equal(word, []byte("true")), bytes.Equal(word, []byte("false")):
		kind = boolNode
	case bytes.Equal(word, []byte("null")):
		kind = nullNode
	case len(word) == 0 || !json.Valid(word):
		return p.fault("neither an object, an array, a string, a number, true, false nor null")
	}
	at := p.open(kind)
	p.pos = end
	p.close(at)
	return nil
}

func isWordByte(c byte) bool {
	return c >= '0' && c <= '9' || c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c == '-' || c == '+' || c == '.'
}

// keySet finds a key that stands twice. Small objects are most objects, and don't
// need a map.
type keySet struct {
	few  []string
	many map[string]bool
}

func (s *keySet) add(key string) bool {
	if s.many == nil {
		for _, k := range s.few {
			if k == key {
				return false
			}
		}
		if s.few = append(s.few, key); len(s.few) < 16 {
			return true
		}
		s.many = make(map[string]bool, 2*len(s.few))
		for _, k := range s.few {
			s.many[k] = true
		}
		return true
	}
	if s.many[key] {
		return false
	}
	s.many[key] = true
	return true
}
