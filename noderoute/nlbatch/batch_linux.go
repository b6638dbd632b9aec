// SPDX-License-Identifier: Apache-2.0

package nlbatch

import (
	"encoding/binary"

	"golang.org/x/sys/unix"
)

// Batch is a row of netlink requests in one buffer. The zero value is empty
// and ready to use. Attributes are added to the request begun last.
type Batch struct {
	// Trailers is how many requests at the end the kernel never answers, such
	// as the end marker of an nftables transaction.
	Trailers int

	buf    []byte
	starts []int
	nests  []int
}

// Len is the number of requests in the batch.
func (b *Batch) Len() int { return len(b.starts) }

// Begin starts a request. NLM_F_REQUEST is always set; fixed is the family's
// fixed header (struct rtmsg, ifinfomsg, nfgenmsg, ...) and may be nil.
func (b *Batch) Begin(typ, flags uint16, fixed []byte) {
	b.starts = append(b.starts, len(b.buf))
	var h [unix.NLMSG_HDRLEN]byte
	binary.NativeEndian.PutUint16(h[4:], typ)
	binary.NativeEndian.PutUint16(h[6:], flags|unix.NLM_F_REQUEST)
	b.buf = append(b.buf, h[:]...)
	b.buf = append(b.buf, fixed...)
	b.pad()
	b.seal()
}

// Bytes adds an attribute with a raw value.
func (b *Batch) Bytes(typ uint16, value []byte) {
	b.header(typ, len(value))
	b.buf = append(b.buf, value...)
	b.pad()
	b.seal()
}

// String adds an attribute holding s and its terminating zero byte.
func (b *Batch) String(typ uint16, s string) {
	b.header(typ, len(s)+1)
	b.buf = append(b.buf, s...)
	b.buf = append(b.buf, 0)
	b.pad()
	b.seal()
}

// Uint8 adds a one-byte attribute.
func (b *Batch) Uint8(typ uint16, v uint8) { b.Bytes(typ, []byte{v}) }

// Uint32 adds an attribute in the machine's byte order, as rtnetlink wants it.
func (b *Batch) Uint32(typ uint16, v uint32) {
	b.header(typ, 4)
	b.buf = binary.NativeEndian.AppendUint32(b.buf, v)
	b.seal()
}

// Uint16BE adds an attribute in network byte order, as ports are written.
func (b *Batch) Uint16BE(typ uint16, v uint16) {
	b.Bytes(typ, binary.BigEndian.AppendUint16(nil, v))
}

// Uint32BE adds an attribute in network byte order and says so in its type,
// as the netfilter families want it.
func (b *Batch) Uint32BE(typ uint16, v uint32) {
	b.Bytes(typ|unix.NLA_F_NET_BYTEORDER, binary.BigEndian.AppendUint32(nil, v))
}

// Open starts a nested attribute; Close ends the one opened last.
func (b *Batch) Open(typ uint16) {
	b.nests = append(b.nests, len(b.buf))
	b.header(typ|unix.NLA_F_NESTED, 0)
	b.seal()
}

// Close ends the nested attribute opened last.
func (b *Batch) Close() {
	at := b.nests[len(b.nests)-1]
	b.nests = b.nests[:len(b.nests)-1]
	binary.NativeEndian.PutUint16(b.buf[at:], uint16(len(b.buf)-at))
}

// Size is the length in bytes of the request begun last.
func (b *Batch) Size() int {
	if len(b.starts) == 0 {
		return 0
	}
	return len(b.buf) - b.starts[len(b.starts)-1]
}

func (b *Batch) header(typ uint16, n int) {
	b.buf = binary.NativeEndian.AppendUint16(b.buf, uint16(unix.SizeofRtAttr+n))
	b.buf = binary.NativeEndian.AppendUint16(b.buf, typ)
}

func (b *Batch) pad() {
	for len(b.buf)%unix.NLMSG_ALIGNTO != 0 {
		b.buf = append(b.buf, 0)
	}
}

// seal writes the length of the request begun last into its header.
func (b *Batch) seal() {
	at := b.starts[len(b.starts)-1]
	binary.NativeEndian.PutUint32(b.buf[at:], uint32(len(b.buf)-at))
}

// message is the i-th request.
func (b *Batch) message(i int) []byte {
	if i+1 < len(b.starts) {
		return b.buf[b.starts[i]:b.starts[i+1]]
	}
	return b.buf[b.starts[i]:]
}
