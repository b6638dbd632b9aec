// SPDX-License-Identifier: Apache-2.0

package wire

import (
	"fmt"
	"slices"
	"unicode/utf8"

	"google.golang.org/protobuf/encoding/protowire"
)

// Template is the wire form of a message with holes. It may be used by many
// goroutines at once.
type Template struct {
	name    string // of the message, for errors
	ops     []op
	lengths []length // in the order of their beginning, so that inner ones come after outer ones
	inside  []item   // what is in the lengths, one after the other
	digest  Digest   // of the message with its marks, from which everything else follows
	texts   int      // number of holes
	splices int      // number of splices
}

// op writes one thing.
type op struct {
	kind    opKind
	index   int    // of the length, hole or splice
	literal []byte // what is copied
	shared  *Parts // what is referred to
}

type opKind uint8

const (
	opLiteral opKind = iota
	opShared
	opLength
	opText
	opSplice
)

// length is one length prefix: the size of what it encloses depends on the holes.
type length struct {
	fixed    int // bytes that are always there
	from, to int // what else there is, in the template's list
}

// item is one thing in a length whose size varies: a hole, a splice, or an inner
// length, which counts with its own prefix.
type item struct {
	kind  opKind
	index int
}

// Write puts the message with these strings at the end of w's current piece. A
// string must not be empty, because an empty one may not be sent at all, and must
// be UTF-8; that it wasn't is what w.Finish reports.
func (t *Template) Write(w *Writer, texts ...string) { t.WriteAround(w, nil, texts...) }

// WriteAround is Write for a template with splices: each is replaced by the
// pieces given for it, any number of them. They must stay as they are until
// w.Finish.
func (t *Template) WriteAround(w *Writer, splices [][]Parts, texts ...string) {
	if !t.accepts(w, splices, texts) {
		return
	}
	w.record = w.record.template(t, splices, texts)
	sizes := t.measure(w.sizes[:0], splices, texts)
	w.sizes = sizes
	own := w.own
	for i := range t.ops {
		o := &t.ops[i]
		switch o.kind {
		case opLiteral:
			own = append(own, o.literal...)
		case opLength:
			own = protowire.AppendVarint(own, uint64(sizes[o.index]))
		case opText:
			own = append(own, texts[o.index]...)
		case opShared:
			w.own = own
			w.share(o.shared)
		case opSplice:
			w.own = own
			for j := range splices[o.index] {
				w.share(&splices[o.index][j])
			}
		}
	}
	w.own = own
}

// accepts reports whether the arguments fit, and tells w where they don't.
func (t *Template) accepts(w *Writer, splices [][]Parts, texts []string) bool {
	if w.err != nil {
		return false
	}
	if len(texts) != t.texts || len(splices) != t.splices {
		w.err = fmt.Errorf("writing %s: %d strings and %d splices for %d and %d", t.name, len(texts), len(splices), t.texts, t.splices)
		return false
	}
	for i, text := range texts {
		if text == "" || !utf8.ValidString(text) {
			w.err = fmt.Errorf("writing %s: string %d is %q, which is empty or no UTF-8", t.name, i, text)
			return false
		}
	}
	return true
}

// measure computes all lengths, the inner ones first.
func (t *Template) measure(sizes []int, splices [][]Parts, texts []string) []int {
	sizes = slices.Grow(sizes, len(t.lengths))[:len(t.lengths)]
	for i := len(t.lengths) - 1; i >= 0; i-- {
		l := &t.lengths[i]
		size := l.fixed
		for _, in := range t.inside[l.from:l.to] {
			switch in.kind {
			case opText:
				size += len(texts[in.index])
			case opLength:
				size += protowire.SizeBytes(sizes[in.index])
			default:
				for j := range splices[in.index] {
					size += splices[in.index][j].Size
				}
			}
		}
		sizes[i] = size
	}
	return sizes
}

// Texts is how many strings the template is written with.
func (t *Template) Texts() int { return t.texts }

// Empty reports whether the template writes nothing, and so has no holes.
func (t *Template) Empty() bool { return len(t.ops) == 0 }
