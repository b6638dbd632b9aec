// SPDX-License-Identifier: Apache-2.0

package xdsdiff

import (
	"bytes"
	"cmp"
	"encoding/json"
	"slices"
	"strings"
)

// Op is what a difference is.
type Op string

// The operations that turn A into B.
const (
	Remove  Op = "remove"  // only A has it
	Add     Op = "add"     // only B has it
	Change  Op = "change"  // both have it, with other values
	Reorder Op = "reorder" // the same elements in another order, where order matters
)

// Difference is one difference inside a resource.
type Difference struct {
	Op   Op
	Path string // fields by their proto names, elements and keys in brackets
	// Old and New are the values as JSON, with defaults left out; nil where there is
	// none. Of a Reorder they are lists of names.
	Old, New json.RawMessage
}

// comparer compares two values and collects what differs.
type comparer struct {
	// added says whose side's fields are ignored where they are what a config_dump
	// adds to hosts and the other side has none.
	addedInA, addedInB bool
	found              []Difference
}

func (c *comparer) report(op Op, path string, s schema, a, b *value, sensitive bool) {
	d := Difference{Op: op, Path: path}
	show := func(v *value) json.RawMessage {
		switch {
		case v == nil:
			return nil
		case sensitive:
			return json.RawMessage(hidden)
		}
		return s.canonical(nil, *v, true)
	}
	d.Old, d.New = show(a), show(b)
	c.found = append(c.found, d)
}

// compare compares two values that both sides have.
func (c *comparer) compare(path string, s schema, a, b value) {
	if a.kind() == b.kind() && bytes.Equal(a.raw(), b.raw()) {
		return
	}
	if !s.fits(a) || !s.fits(b) {
		s = schema{}
	}
	switch {
	case a.kind() == objectNode && b.kind() == objectNode:
		c.objects(path, s, a, b)
	case a.kind() == arrayNode && b.kind() == arrayNode:
		c.lists(path, s, a, b)
	case !bytes.Equal(s.text(a), s.text(b)) || isContainer(a) || isContainer(b):
		c.report(Change, path, s, &a, &b, false)
	}
}

func isContainer(v value) bool { return v.kind() == objectNode || v.kind() == arrayNode }

func (c *comparer) objects(path string, s schema, a, b value) {
	if s.form == packed {
		typeA, _ := a.member("@type")
		typeB, _ := b.member("@type")
		if (typeA.of == nil) != (typeB.of == nil) || (typeA.of != nil && typeName(typeA.string()) != typeName(typeB.string())) {
			c.report(Change, path, s, &a, &b, false)
			return
		}
	}
	// Neither of the functions fails.
	_ = merge(s.fields(a), s.fields(b), func(a, b field) int { return cmp.Compare(a.name, b.name) },
		func(op Op, f field) error { c.lonely(op, path, s, f); return nil },
		func(a, b field) error { c.field(path, s, a, b); return nil })
}

// merge goes through two lists in the order of their elements, and calls only for
// what stands in one of them (Remove: in a, Add: in b), both for what stands in both.
func merge[T any](a, b []T, order func(a, b T) int, only func(Op, T) error, both func(a, b T) error) error {
	for len(a) > 0 || len(b) > 0 {
		var err error
		switch {
		case len(b) == 0 || len(a) > 0 && order(a[0], b[0]) < 0:
			err = only(Remove, a[0])
			a = a[1:]
		case len(a) == 0 || order(a[0], b[0]) > 0:
			err = only(Add, b[0])
			b = b[1:]
		default:
			err = both(a[0], b[0])
			a, b = a[1:], b[1:]
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// field compares a field that both have.
func (c *comparer) field(path string, s schema, a, b field) {
	at := join(path, s, a.name)
	if !a.sensitive {
		c.compare(at, a.of, a.v, b.v)
		return
	}
	if !a.of.same(a.v, b.v) {
		c.report(Change, at, a.of, &a.v, &b.v, true)
	}
}

// lonely reports a field that only one of the objects has.
func (c *comparer) lonely(op Op, path string, s schema, f field) {
	if (op == Remove && c.addedInA || op == Add && c.addedInB) && addedByDump(&f) {
		return
	}
	a, b := &f.v, (*value)(nil)
	if op == Add {
		a, b = b, a
	}
	c.report(op, join(path, s, f.name), f.of, a, b, f.sensitive)
}

// join adds a field's name to a path, or a map's key.
func join(path string, s schema, name string) string {
	switch {
	case s.form == mapping:
		return path + bracket(name)
	case strings.ContainsAny(name, ".[]\" \t\n") || name == "":
		return path + bracket(name)
	case path == "":
		return name
	}
	return path + "." + name
}

// bracket is a key or an element's name in a path, quoted where it would be
// misread otherwise.
func bracket(name string) string {
	if name == "" || strings.ContainsFunc(name, func(r rune) bool { return r < ' ' || r == 0x7f || strings.ContainsRune("[]\"\\", r) }) {
		name = string(quote(name))
	}
	return "[" + name + "]"
}

// sorted are the differences by path. Several at one path stay in order.
func sorted(all []Difference) []Difference {
	slices.SortStableFunc(all, func(a, b Difference) int { return cmp.Compare(a.Path, b.Path) })
	return all
}
