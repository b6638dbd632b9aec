// SPDX-License-Identifier: Apache-2.0

package wire

import (
	"crypto/sha256"
	"encoding/binary"
	"fmt"

	"google.golang.org/protobuf/proto"
)

// Parts is a piece of wire form that is finished. It never changes, and other
// pieces refer to it.
type Parts struct {
	Bytes  [][]byte // in the order in which they are sent
	Size   int      // of all of them together, in bytes
	Digest Digest
}

// Digest tells two pieces apart. It is made from the bytes and from where pieces
// were referred to, so it is the same in every process for what the same templates
// wrote with the same arguments; it is not the hash of the joined bytes.
type Digest [sha256.Size]byte

// Marshal is the deterministic wire form of a message, as one part.
func Marshal(m proto.Message) (Parts, error) {
	body, err := marshal(m)
	if err != nil {
		return Parts{}, err
	}
	return whole(body), nil
}

func marshal(m proto.Message) ([]byte, error) {
	body, err := proto.MarshalOptions{Deterministic: true}.Marshal(m)
	if err != nil {
		return nil, fmt.Errorf("marshalling %s: %w", m.ProtoReflect().Descriptor().FullName(), err)
	}
	return body, nil
}

// whole is a piece of one part.
func whole(body []byte) Parts {
	d := newDigester()
	d.write(body)
	p := Parts{Size: len(body), Digest: d.sum()}
	if len(body) > 0 {
		p.Bytes = [][]byte{body}
	}
	return p
}

// digester computes digests one after the other. What it hashes is the bytes, and
// in place of each piece that is only referred to that piece's digest and size,
// after the number of bytes since the one before. Read from its end, this can be
// understood in one way only, so two pieces have one digest only if they are equal.
type digester struct {
	hash interface {
		Write([]byte) (int, error)
		Sum([]byte) []byte
		Reset()
	}
	run    int // bytes since the last reference
	record [16 + sha256.Size]byte
}

func newDigester() *digester { return &digester{hash: sha256.New()} }

func (d *digester) write(b []byte) {
	d.hash.Write(b)
	d.run += len(b)
}

func (d *digester) refer(p *Parts) {
	binary.BigEndian.PutUint64(d.record[0:], uint64(d.run))
	copy(d.record[8:], p.Digest[:])
	binary.BigEndian.PutUint64(d.record[8+sha256.Size:], uint64(p.Size))
	d.hash.Write(d.record[:])
	d.run = 0
}

// sum is the digest, and begins the next.
func (d *digester) sum() Digest {
	binary.BigEndian.PutUint64(d.record[0:], uint64(d.run))
	d.hash.Write(d.record[:8])
	var out Digest
	d.hash.Sum(out[:0])
	d.hash.Reset()
	d.run = 0
	return out
}
