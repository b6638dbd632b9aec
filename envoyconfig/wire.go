// SPDX-License-Identifier: Apache-2.0

package envoyconfig

import (
	"google.golang.org/protobuf/encoding/protowire"
)

// Wire is the deterministic wire form of a message, in parts that are sent one
// after the other. Resources share parts; nobody may write to one.
type Wire [][]byte

// Len is the length in bytes of all parts together.
func (w Wire) Len() int {
	n := 0
	for _, part := range w {
		n += len(part)
	}
	return n
}

// AppendTo appends the whole to b.
func (w Wire) AppendTo(b []byte) []byte {
	for _, part := range w {
		b = append(b, part...)
	}
	return b
}

// joined is the whole as one slice: the part itself where there is only one.
func (w Wire) joined() []byte {
	if len(w) == 1 {
		return w[0]
	}
	return w.AppendTo(make([]byte, 0, w.Len()))
}

// Field numbers of envoy.config.listener.v3.Listener.
const (
	listenerFieldAddress  protowire.Number = 2
	listenerFieldInternal protowire.Number = 27
)

// internalListener reports whether a listener's wire form says that it is an
// internal one, without decoding it: a listener can have hundreds of megabytes.
// One with an address can't be internal, and the address comes early.
func (w Wire) internalListener() bool {
	r := wireReader{rest: w}
	for {
		field, ok := r.field()
		switch {
		case !ok || field == listenerFieldAddress:
			return false
		case field == listenerFieldInternal:
			return true
		}
	}
}

// wireReader walks the top-level fields of a wire form.
type wireReader struct {
	rest Wire
	at   int // in the first of rest
}

// head copies up to max bytes that come next. A tag and a length fit in two varints.
func (r *wireReader) head() []byte {
	const most = 2 * 10
	var b []byte
	at := r.at
	for _, part := range r.rest {
		b = append(b, part[at:min(len(part), at+most-len(b))]...)
		at = 0
		if len(b) == most {
			break
		}
	}
	return b
}

// field moves past the next field and returns its number; false at the end, or
// where the bytes are no message.
func (r *wireReader) field() (protowire.Number, bool) {
	head := r.head()
	number, kind, n := protowire.ConsumeTag(head)
	if n < 0 {
		return 0, false
	}
	if kind == protowire.BytesType {
		length, m := protowire.ConsumeVarint(head[n:])
		if m < 0 {
			return 0, false
		}
		return number, r.skip(uint64(n+m) + length)
	}
	m := protowire.ConsumeFieldValue(number, kind, head[n:])
	return number, m >= 0 && r.skip(uint64(n+m))
}

// skip moves on by n bytes.
func (r *wireReader) skip(n uint64) bool {
	for len(r.rest) > 0 {
		left := uint64(len(r.rest[0]) - r.at)
		if n < left {
			r.at += int(n)
			return true
		}
		n -= left
		r.rest, r.at = r.rest[1:], 0
	}
	return n == 0
}
