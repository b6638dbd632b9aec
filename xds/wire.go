// SPDX-License-Identifier: Apache-2.0

package xds

import (
	"math"

	"google.golang.org/grpc/encoding"
	_ "google.golang.org/grpc/encoding/proto" // the codec that rawCodec falls back to
	"google.golang.org/grpc/mem"
	"google.golang.org/protobuf/encoding/protowire"

	"github.com/ambient22/ambient22/envoyconfig"
)

// Field numbers of the response messages. They are written by hand because the
// generated Marshal would copy every resource into every message of every stream;
// the tests read the result with the generated types.
const (
	// envoy.service.discovery.v3.DiscoveryResponse and DeltaDiscoveryResponse
	fieldVersion   protowire.Number = 1 // version_info, system_version_info
	fieldResources protowire.Number = 2 // Any in the one, Resource in the other
	fieldTypeURL   protowire.Number = 4
	fieldNonce     protowire.Number = 5
	fieldRemoved   protowire.Number = 6 // delta: removed_resources

	// envoy.service.discovery.v3.Resource
	fieldResourceVersion protowire.Number = 1
	fieldResourceBody    protowire.Number = 2
	fieldResourceName    protowire.Number = 3

	// google.protobuf.Any
	fieldAnyTypeURL protowire.Number = 1
	fieldAnyValue   protowire.Number = 2
)

// shareFrom is the size in bytes from which a part is referred to instead of
// copied. A reference takes 40 bytes, and gRPC about as long to handle as the copy
// of a few hundred bytes.
const shareFrom = 256

// Sizes of the memory that a message takes what is copied into, in bytes: small at
// first, because most messages are.
const (
	firstChunk = 1 << 10
	lastChunk  = 64 << 10
)

// message is a response in wire form, as a list of buffers that are sent one
// after the other. Resources are in it by reference, but for their small parts.
type message struct {
	buffers mem.BufferSlice
	tail    []byte            // written but not yet a buffer
	chunk   int               // size of the memory that tail is part of
	refs    []mem.SliceBuffer // what buffers point to, in blocks
	size    int               // bytes of all
	empty   bool              // there is no resource in it yet
}

// newMessage begins a response. System version, type and nonce have the same
// field numbers in both protocols.
func newMessage(version, typeURL, nonce string) *message {
	m := &message{empty: true}
	m.text(fieldVersion, version)
	m.text(fieldTypeURL, typeURL)
	m.text(fieldNonce, nonce)
	return m
}

// room makes room for n bytes after tail and returns it.
func (m *message) room(n int) []byte {
	m.size += n
	if cap(m.tail)-len(m.tail) < n {
		m.flush()
		m.chunk = min(max(2*m.chunk, firstChunk), lastChunk)
		m.tail = make([]byte, 0, max(n, m.chunk))
	}
	return m.tail
}

// Sizes from which a response is cut in two, so that a first answer of many
// resources is not one message of gigabytes. In state of the world each message
// costs an ACK that repeats all names, so there it is only cut where gRPC's limit
// comes near. Listeners are never cut below that limit: a proxy starts working with
// the first answer, and would be ready before it has what captures its traffic.
const (
	deltaMessageBytes    = 64 << 20
	sotwMessageBytes     = 1 << 30
	listenerMessageBytes = math.MaxInt32 - 1<<20 // the rest is for names and versions
)

// fits reports whether a resource goes into the message, given a limit in bytes.
// One always does, however large.
func (m *message) fits(r *envoyconfig.Resource, limit int) bool {
	if m.empty {
		return true
	}
	return m.size+r.Wire.Len() < limit
}

func (m *message) text(field protowire.Number, s string) {
	b := m.room(sizeOfBytes(field, len(s)))
	m.tail = protowire.AppendString(protowire.AppendTag(b, field, protowire.BytesType), s)
}

// open begins a nested message of that size.
func (m *message) open(field protowire.Number, size int) {
	b := m.room(sizeOfBytes(field, size) - size)
	m.tail = protowire.AppendVarint(protowire.AppendTag(b, field, protowire.BytesType), uint64(size))
}

// resource adds a state of the world resource.
func (m *message) resource(r *envoyconfig.Resource) {
	size := r.Wire.Len()
	m.open(fieldResources, sizeOfAny(r, size))
	m.any(r, size)
}

// deltaResource adds a resource with its name and version.
func (m *message) deltaResource(r *envoyconfig.Resource) {
	size := r.Wire.Len()
	body := sizeOfAny(r, size)
	m.open(fieldResources, sizeOfBytes(fieldResourceVersion, len(r.Version))+
		sizeOfBytes(fieldResourceName, len(r.Name))+
		sizeOfBytes(fieldResourceBody, body))
	m.text(fieldResourceVersion, r.Version)
	m.text(fieldResourceName, r.Name)
	m.open(fieldResourceBody, body)
	m.any(r, size)
}

// removed adds the name of a resource that is gone.
func (m *message) removed(name string) { m.text(fieldRemoved, name) }

// any adds the fields of an Any whose value has that size.
func (m *message) any(r *envoyconfig.Resource, size int) {
	m.empty = false
	m.text(fieldAnyTypeURL, r.Type)
	if size == 0 {
		return // a message of defaults only has no bytes
	}
	m.open(fieldAnyValue, size)
	for _, part := range r.Wire {
		if len(part) < shareFrom {
			m.tail = append(m.room(len(part)), part...)
			continue
		}
		m.flush()
		m.push(part)
		m.size += len(part)
	}
}

// flush makes a buffer of what has been written since the last.
func (m *message) flush() {
	if n := len(m.tail); n > 0 {
		m.push(m.tail[:n:n])
		m.tail = m.tail[n:]
	}
}

// push refers to b. A pointer into a block of slices costs no memory of its own,
// as a slice in an interface would.
func (m *message) push(b []byte) {
	if len(m.refs) == cap(m.refs) {
		m.refs = make([]mem.SliceBuffer, 0, min(2*cap(m.refs)+8, 4096))
	}
	m.refs = append(m.refs, b)
	m.buffers = append(m.buffers, &m.refs[len(m.refs)-1])
}

// sizeOfAny is the size of an Any whose value has that size.
func sizeOfAny(r *envoyconfig.Resource, value int) int {
	size := sizeOfBytes(fieldAnyTypeURL, len(r.Type))
	if value > 0 {
		size += sizeOfBytes(fieldAnyValue, value)
	}
	return size
}

func sizeOfBytes(field protowire.Number, n int) int {
	return protowire.SizeTag(field) + protowire.SizeBytes(n)
}

// rawCodec sends messages as they are, lets those that can read themselves do so,
// and leaves everything else to protobuf.
type rawCodec struct{ encoding.CodecV2 }

func newRawCodec() rawCodec { return rawCodec{encoding.GetCodecV2("proto")} }

// Marshal implements encoding.CodecV2.
func (c rawCodec) Marshal(v any) (mem.BufferSlice, error) {
	m, ok := v.(*message)
	if !ok {
		return c.CodecV2.Marshal(v)
	}
	m.flush()
	return m.buffers, nil
}

// Unmarshal implements encoding.CodecV2.
func (c rawCodec) Unmarshal(data mem.BufferSlice, v any) error {
	r, ok := v.(*sotwRequest)
	if !ok {
		return c.CodecV2.Unmarshal(data, v)
	}
	return r.unmarshal(data.Materialize())
}
