// SPDX-License-Identifier: Apache-2.0

package xds

import (
	"fmt"
	"hash/maphash"
	"slices"

	discoveryv3 "github.com/envoyproxy/go-control-plane/envoy/service/discovery/v3"
	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"
)

// fieldNames is DiscoveryRequest's resource_names.
const fieldNames protowire.Number = 3

// sotwRequest is a DiscoveryRequest whose names stay as they came. In state of the
// world every ACK repeats all of them, of which there may be a million, and next to
// always they are those of the request before: comparing a hash is enough.
type sotwRequest struct {
	seed maphash.Seed

	rest  discoveryv3.DiscoveryRequest // all but the names
	names nameList
}

// nameList is a list of strings in wire form.
type nameList struct {
	fields []byte // tags included
	copied bool   // fields is no part of the request, because there they lie apart
	hash   uint64
}

// unmarshal reads a wire form, and keeps it.
func (r *sotwRequest) unmarshal(wire []byte) error {
	var rest []byte
	for len(wire) > 0 {
		field, kind, tag := protowire.ConsumeTag(wire)
		if tag < 0 {
			return fmt.Errorf("reading a discovery request: %w", protowire.ParseError(tag))
		}
		n := protowire.ConsumeFieldValue(field, kind, wire[tag:])
		if n < 0 {
			return fmt.Errorf("reading a discovery request: %w", protowire.ParseError(n))
		}
		n += tag
		if field == fieldNames && kind == protowire.BytesType {
			r.names.add(wire[:n])
		} else {
			rest = append(rest, wire[:n]...)
		}
		wire = wire[n:]
	}
	r.names.hash = maphash.Bytes(r.seed, r.names.fields)
	return proto.Unmarshal(rest, &r.rest)
}

// add adds a field, at no cost where it lies right behind the one before.
func (l *nameList) add(field []byte) {
	n := len(l.fields)
	switch {
	case n == 0:
		l.fields = field
	case l.copied:
		l.fields = append(l.fields, field...)
	case cap(l.fields) > n && &l.fields[:n+1][n] == &field[0]:
		l.fields = l.fields[:n+len(field)]
	default:
		l.fields, l.copied = slices.Concat(l.fields, field), true
	}
}

// set is the names, each once.
func (l *nameList) set() map[string]struct{} {
	names := make(map[string]struct{})
	for wire := l.fields; len(wire) > 0; {
		_, _, tag := protowire.ConsumeTag(wire)
		name, n := protowire.ConsumeBytes(wire[tag:])
		names[string(name)] = struct{}{}
		wire = wire[tag+n:]
	}
	return names
}
