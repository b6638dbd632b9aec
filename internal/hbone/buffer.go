// SPDX-License-Identifier: Apache-2.0

package hbone

import "sync"

// Received bytes lie in chunks of two sizes, so that a stream with a few bytes
// pending does not hold a whole frame's worth.
const (
	smallChunk = 2 << 10
	largeChunk = 16 << 10
)

// chunk is one piece of a receive buffer: b[r:w] is committed and unread.
type chunk struct {
	next *chunk
	r, w int
	b    []byte
}

var (
	smallChunks = sync.Pool{New: func() any { return &chunk{b: make([]byte, smallChunk)} }}
	largeChunks = sync.Pool{New: func() any { return &chunk{b: make([]byte, largeChunk)} }}
)

func newChunk(want int) *chunk {
	if want <= smallChunk {
		return smallChunks.Get().(*chunk)
	}
	return largeChunks.Get().(*chunk)
}

func (k *chunk) free() {
	k.next, k.r, k.w = nil, 0, 0
	if len(k.b) == smallChunk {
		smallChunks.Put(k)
		return
	}
	largeChunks.Put(k)
}

// recvBuffer is a FIFO of received bytes that the socket is read into directly:
// reserve lends out free space, commit makes it readable. Every chunk is
// filled up before the next one is taken, so the buffer never takes more than
// the bytes it holds plus one chunk. Its owner's lock guards it; the space that
// reserve lent may be written without the lock.
type recvBuffer struct {
	head, tail *chunk
	size       int
	lent       bool // the read loop writes into the tail's free space
	dropped    bool
}

// reserve returns 1 to want bytes of space, or nil after drop.
func (b *recvBuffer) reserve(want int) []byte {
	if b.dropped {
		return nil
	}
	if b.tail == nil || b.tail.w == len(b.tail.b) {
		k := newChunk(want)
		if b.tail == nil {
			b.head = k
		} else {
			b.tail.next = k
		}
		b.tail = k
	}
	b.lent = true
	return b.tail.b[b.tail.w:min(b.tail.w+want, len(b.tail.b))]
}

// commit makes the first n bytes of what reserve lent readable.
func (b *recvBuffer) commit(n int) {
	b.lent = false
	if b.dropped {
		return
	}
	b.tail.w += n
	b.size += n
}

// read moves bytes to p.
func (b *recvBuffer) read(p []byte) int {
	n := 0
	for n < len(p) && b.size > 0 {
		k := b.head
		m := copy(p[n:], k.b[k.r:k.w])
		k.r += m
		n += m
		b.size -= m
		b.trim()
	}
	return n
}

// take removes the oldest chunk and hands it over; the caller frees it. Of a
// chunk that is being written into it hands over a copy of what is readable.
func (b *recvBuffer) take() *chunk {
	k := b.head
	b.size -= k.w - k.r
	if b.lent && k == b.tail {
		dup := newChunk(k.w - k.r)
		dup.w = copy(dup.b, k.b[k.r:k.w])
		k.r = k.w
		return dup
	}
	if k == b.tail {
		b.tail = nil
	}
	b.head, k.next = k.next, nil
	return k
}

// trim gives a head chunk back that has been read to its end.
func (b *recvBuffer) trim() {
	k := b.head
	if k.r < k.w || (b.lent && k == b.tail) {
		return
	}
	if k == b.tail {
		b.tail = nil
	}
	b.head = k.next
	k.free()
}

// drop forgets everything and lends no more space. A chunk that is being
// written into is left to the garbage collector.
func (b *recvBuffer) drop() {
	for k := b.head; k != nil; {
		next := k.next
		if !b.lent || k != b.tail {
			k.free()
		}
		k = next
	}
	b.head, b.tail, b.size, b.dropped = nil, nil, 0, true
}
