// SPDX-License-Identifier: Apache-2.0

package xdsdiff

import (
	"encoding/json"
	"iter"
)

func (v value) node() *node { return &v.of.nodes[v.at] }

func (v value) kind() nodeKind { return v.node().kind }

// raw is the value's text, with a string's quotes.
func (v value) raw() []byte {
	n := v.node()
	if n.kind == stringNode {
		return v.of.data[n.start-1 : n.end+1]
	}
	return v.of.data[n.start:n.end]
}

// string is what a string says, and the text of any other value.
func (v value) string() string {
	n := v.node()
	if n.kind == stringNode && n.escaped {
		var s string
		// The parser has found the string valid.
		_ = json.Unmarshal(v.raw(), &s)
		return s
	}
	return string(v.of.data[n.start:n.end])
}

// members are the keys and values of an object; any other value has none.
func (v value) members() iter.Seq2[value, value] {
	return func(yield func(value, value) bool) {
		if v.kind() != objectNode {
			return
		}
		for at, after := v.at+1, v.node().after; at < after; {
			key, val := value{v.of, at}, value{v.of, at + 1}
			if !yield(key, val) {
				return
			}
			at = val.node().after
		}
	}
}

// elements are the values of an array; any other value has none.
func (v value) elements() []value {
	if v.kind() != arrayNode {
		return nil
	}
	var all []value
	for at, after := v.at+1, v.node().after; at < after; {
		e := value{v.of, at}
		all = append(all, e)
		at = e.node().after
	}
	return all
}

// empty reports whether an object or array has nothing in it.
func (v value) empty() bool { return v.node().after == v.at+1 }

// member is an object's value of a key in either spelling: snake_case, or the
// camelCase that protobuf's JSON has by default.
func (v value) member(name string) (value, bool) {
	for key, val := range v.members() {
		if snake(key.string()) == name {
			return val, val.kind() != nullNode
		}
	}
	return value{}, false
}

// snake spells a field's name as the proto file does.
func snake(name string) string {
	plain := true
	for i := range len(name) {
		if name[i] >= 'A' && name[i] <= 'Z' {
			plain = false
			break
		}
	}
	if plain {
		return name
	}
	var out []byte
	for i := range len(name) {
		c := name[i]
		if c >= 'A' && c <= 'Z' {
			if i > 0 {
				out = append(out, '_')
			}
			c += 'a' - 'A'
		}
		out = append(out, c)
	}
	return string(out)
}
