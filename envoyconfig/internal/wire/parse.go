// SPDX-License-Identifier: Apache-2.0

package wire

import (
	"bytes"
	"fmt"
	"strings"

	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/reflect/protoregistry"
)

// node is a stretch of wire form: one of a literal, a hole, a splice, or a field
// with something inside that is no literal.
type node struct {
	literal []byte // with inside: the field's tag
	hole    *int
	splice  *int
	inside  []node
}

// noSplice says that no splice stands for a message.
const noSplice = -1

// google.protobuf.Any's fields.
const (
	anyName                             = "google.protobuf.Any"
	anyTypeURL protoreflect.FieldNumber = 1
	anyValue   protoreflect.FieldNumber = 2
)

// parse cuts a message at its marks. It also returns the splice that stands for
// this message, or noSplice.
func parse(body []byte, d protoreflect.MessageDescriptor) (nodes []node, splice int, err error) {
	p := parser{d: d, entries: map[protoreflect.FieldNumber]int{}}
	for len(body) > 0 {
		number, kind, n := protowire.ConsumeField(body)
		if n < 0 {
			return nil, noSplice, protowire.ParseError(n)
		}
		splice, err := p.field(body[:n], number, kind)
		if err != nil || splice != noSplice {
			return nil, splice, err
		}
		body = body[n:]
	}
	for number, f := range p.marked {
		if p.entries[number] > 1 {
			return nil, noSplice, fmt.Errorf("%s: where an entry stands would depend on its key", f.FullName())
		}
	}
	return p.nodes, noSplice, nil
}

// parser cuts the fields of one message.
type parser struct {
	d       protoreflect.MessageDescriptor
	nodes   []node
	typeURL string // of an Any

	entries map[protoreflect.FieldNumber]int                          // of each map
	marked  map[protoreflect.FieldNumber]protoreflect.FieldDescriptor // maps with a mark in a key
}

// field cuts one field, tag and all.
func (p *parser) field(field []byte, number protowire.Number, kind protowire.Type) (splice int, err error) {
	f := p.d.Fields().ByNumber(number)
	if f == nil {
		return noSplice, fmt.Errorf("%s has no field %d", p.d.FullName(), number)
	}
	p.entries[number]++
	if kind != protowire.BytesType || !bytes.Contains(field, []byte(markStart)) {
		p.noteType(field, number, kind)
		p.nodes = append(p.nodes, node{literal: field})
		return noSplice, nil
	}
	value, _ := protowire.ConsumeBytes(field[protowire.SizeTag(number):])
	var inside []node
	switch inner, err := p.messageIn(f); {
	case err != nil:
		return noSplice, err
	case inner != nil:
		var whole int
		inside, whole, err = parse(value, inner)
		if err != nil {
			return noSplice, err
		}
		if whole != noSplice {
			p.nodes = append(p.nodes, node{splice: &whole})
			p.noteKey(f, true)
			return noSplice, nil
		}
		p.noteKey(f, bytes.Contains(keyOf(value), []byte(markStart)))
	case f.Kind() == protoreflect.StringKind:
		if inside, splice, err = cutText(string(value)); err != nil || splice != noSplice {
			return splice, err
		}
	default:
		return noSplice, fmt.Errorf("%s has a mark, but is no string", f.FullName())
	}
	p.nodes = append(p.nodes, node{literal: prefixed(number), inside: inside})
	return noSplice, nil
}

// messageIn is the type of message that a field holds, nil for none.
func (p *parser) messageIn(f protoreflect.FieldDescriptor) (protoreflect.MessageDescriptor, error) {
	if f.Kind() == protoreflect.MessageKind {
		return f.Message(), nil
	}
	if p.d.FullName() != anyName || f.Number() != anyValue {
		return nil, nil
	}
	t, err := protoregistry.GlobalTypes.FindMessageByURL(p.typeURL)
	if err != nil {
		return nil, fmt.Errorf("looking into an Any: %w", err)
	}
	return t.Descriptor(), nil
}

func (p *parser) noteType(field []byte, number protowire.Number, kind protowire.Type) {
	if p.d.FullName() == anyName && number == anyTypeURL && kind == protowire.BytesType {
		url, _ := protowire.ConsumeString(field[protowire.SizeTag(number):])
		p.typeURL = url
	}
}

// noteKey remembers a map whose order depends on a mark.
func (p *parser) noteKey(f protoreflect.FieldDescriptor, marked bool) {
	if !marked || !f.IsMap() {
		return
	}
	if p.marked == nil {
		p.marked = map[protoreflect.FieldNumber]protoreflect.FieldDescriptor{}
	}
	p.marked[f.Number()] = f
}

// keyOf is the field with the key in a map's entry, which comes first.
func keyOf(entry []byte) []byte {
	_, _, n := protowire.ConsumeField(entry)
	return entry[:max(n, 0)]
}

// cutText cuts a string at its marks.
func cutText(text string) (nodes []node, splice int, err error) {
	whole := text
	for {
		before, rest, found := strings.Cut(text, markStart)
		if before != "" {
			nodes = append(nodes, node{literal: []byte(before)})
		}
		if !found {
			return nodes, noSplice, nil
		}
		n, kind, ok := number(rest)
		switch {
		case !ok:
			return nil, noSplice, fmt.Errorf("%q is no hole and no splice", whole)
		case kind == holeKind:
			nodes = append(nodes, node{hole: &n})
		case whole == Splice(n):
			return nil, n, nil
		default:
			return nil, noSplice, fmt.Errorf("splice %d is only a part of %q", n, whole)
		}
		text = rest[markRest:]
	}
}
