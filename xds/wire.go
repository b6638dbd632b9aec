// SPDX-License-Identifier: Apache-2.0

package xds

import (
	"google.golang.org/grpc/encoding"
	_ "google.golang.org/grpc/encoding/proto" // the codec that rawCodec falls back to
	"google.golang.org/grpc/mem"
	"google.golang.org/protobuf/encoding/protowire"
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

// shareFrom is the size in bytes from which a resource is referred to instead of
// copied; below, one more buffer costs more than the copy.
const shareFrom = 4 << 10

// message is a response in wire form, as a list of buffers that are sent one
// after the other. Large resources are in it by reference.
type message struct {
	buffers mem.BufferSlice
	tail    []byte // written but not yet a buffer
	size    int    // bytes in buffers
}

// newMessage begins a response. System version, type and nonce have the same
// field numbers in both protocols.
func newMessage(version, typeURL, nonce string) *message {
	m := &message{}
	m.text(fieldVersion, version)
	m.text(fieldTypeURL, typeURL)
	m.text(fieldNonce, nonce)
	return m
}

func (m *message) text(field protowire.Number, s string) {
	m.tail = protowire.AppendTag(m.tail, field, protowire.BytesType)
	m.tail = protowire.AppendString(m.tail, s)
}

// open begins a nested message of that size.
func (m *message) open(field protowire.Number, size int) {
	m.tail = protowire.AppendTag(m.tail, field, protowire.BytesType)
	m.tail = protowire.AppendVarint(m.tail, uint64(size))
}

// resource adds a state of the world resource.
func (m *message) resource(e *entry) {
	m.open(fieldResources, e.sizeOfAny())
	m.any(e)
}

// deltaResource adds a resource with its name and version.
func (m *message) deltaResource(e *entry) {
	body := e.sizeOfAny()
	size := sizeOfBytes(fieldResourceVersion, len(e.version)) +
		sizeOfBytes(fieldResourceName, len(e.name)) +
		sizeOfBytes(fieldResourceBody, body)
	m.open(fieldResources, size)
	m.text(fieldResourceVersion, e.version)
	m.text(fieldResourceName, e.name)
	m.open(fieldResourceBody, body)
	m.any(e)
}

// removed adds the name of a resource that is gone.
func (m *message) removed(name string) { m.text(fieldRemoved, name) }

// any adds the fields of an Any.
func (m *message) any(e *entry) {
	m.text(fieldAnyTypeURL, e.typeURL)
	size := e.wire.Len()
	if size == 0 {
		return // a message of defaults only has no bytes
	}
	m.open(fieldAnyValue, size)
	for _, part := range e.wire {
		if len(part) < shareFrom {
			m.tail = append(m.tail, part...)
			continue
		}
		m.flush()
		m.push(part)
	}
}

// flush makes a buffer of what has been written since the last.
func (m *message) flush() {
	if len(m.tail) > 0 {
		m.push(m.tail)
		m.tail = nil
	}
}

func (m *message) push(b []byte) {
	m.buffers = append(m.buffers, mem.SliceBuffer(b))
	m.size += len(b)
}

// bytes is how large the message is so far.
func (m *message) bytes() int { return m.size + len(m.tail) }

func (e *entry) sizeOfAny() int {
	size := sizeOfBytes(fieldAnyTypeURL, len(e.typeURL))
	if n := e.wire.Len(); n > 0 {
		size += sizeOfBytes(fieldAnyValue, n)
	}
	return size
}

func sizeOfBytes(field protowire.Number, n int) int {
	return protowire.SizeTag(field) + protowire.SizeBytes(n)
}

// rawCodec sends messages as they are, and leaves everything else to protobuf.
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
