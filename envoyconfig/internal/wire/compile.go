// SPDX-License-Identifier: Apache-2.0

package wire

import (
	"crypto/sha256"
	"fmt"

	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"
)

// shareFrom is the size in bytes from which a literal is referred to. A reference
// costs up to two slice headers, and another write to whoever hashes or sends it.
const shareFrom = 128

// Compile cuts a message at its holes and splices, which must be numbered without
// a gap. Messages packed in an Any are looked into.
func Compile(m proto.Message) (*Template, error) {
	d := m.ProtoReflect().Descriptor()
	body, err := marshal(m)
	if err != nil {
		return nil, err
	}
	nodes, splice, err := parse(body, d)
	if err != nil {
		return nil, fmt.Errorf("compiling %s: %w", d.FullName(), err)
	}
	if splice >= 0 {
		return nil, fmt.Errorf("compiling %s: splice %d stands for the whole of it", d.FullName(), splice)
	}
	c := compiler{template: &Template{name: string(d.Name()), digest: sha256.Sum256(body)}}
	c.nodes(nodes)
	c.flush()
	if err := c.count(); err != nil {
		return nil, fmt.Errorf("compiling %s: %w", d.FullName(), err)
	}
	return c.template, nil
}

// compiler writes a template's operations in the order of the wire form.
type compiler struct {
	template *Template
	literal  []byte // not yet an operation
}

// nodes writes what one length encloses, and returns it.
func (c *compiler) nodes(nodes []node) (fixed int, inside []item) {
	for _, n := range nodes {
		switch {
		case n.hole != nil:
			c.op(op{kind: opText, index: *n.hole})
			inside = append(inside, item{opText, *n.hole})
		case n.splice != nil:
			c.op(op{kind: opSplice, index: *n.splice})
			inside = append(inside, item{opSplice, *n.splice})
		default:
			c.literal = append(c.literal, n.literal...)
			fixed += len(n.literal)
		}
		if n.inside != nil {
			inside = append(inside, item{opLength, c.enclose(n.inside)})
		}
	}
	return fixed, inside
}

// enclose writes what stands in a field behind its tag, whose length depends on
// the holes inside, and returns which length that is.
func (c *compiler) enclose(nodes []node) int {
	t := c.template
	index := len(t.lengths)
	c.op(op{kind: opLength, index: index})
	t.lengths = append(t.lengths, length{})
	fixed, inside := c.nodes(nodes)
	from := len(t.inside)
	t.inside = append(t.inside, inside...)
	t.lengths[index] = length{fixed: fixed, from: from, to: len(t.inside)}
	return index
}

func (c *compiler) op(o op) {
	c.flush()
	c.template.ops = append(c.template.ops, o)
}

// flush makes an operation of the literal so far.
func (c *compiler) flush() {
	if len(c.literal) == 0 {
		return
	}
	o := op{kind: opLiteral, literal: c.literal}
	if len(c.literal) >= shareFrom {
		shared := whole(c.literal)
		o = op{kind: opShared, shared: &shared}
	}
	c.literal = nil
	c.template.ops = append(c.template.ops, o)
}

// count finds out how many arguments the template takes, and whether each has a
// place.
func (c *compiler) count() error {
	t := c.template
	var holes, splices [maxMarks]bool
	for _, o := range t.ops {
		switch o.kind {
		case opText:
			holes[o.index] = true
			t.texts = max(t.texts, o.index+1)
		case opSplice:
			splices[o.index] = true
			t.splices = max(t.splices, o.index+1)
		}
	}
	for i := range t.texts {
		if !holes[i] {
			return fmt.Errorf("there is a hole %d and no hole %d", t.texts-1, i)
		}
	}
	for i := range t.splices {
		if !splices[i] {
			return fmt.Errorf("there is a splice %d and no splice %d", t.splices-1, i)
		}
	}
	return nil
}

// prefixed is the tag of a length-delimited field.
func prefixed(number protowire.Number) []byte {
	return protowire.AppendTag(nil, number, protowire.BytesType)
}
