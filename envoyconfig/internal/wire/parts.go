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

// Digest tells two pieces apart. It is made from what a piece was written with, which
// is the same in every process for what the same templates wrote with the same
// arguments; it is not the hash of the bytes.
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
	p := Parts{Size: len(body), Digest: sha256.Sum256(body)}
	if len(body) > 0 {
		p.Bytes = [][]byte{body}
	}
	return p
}

// record is what a piece is written with: pieces that it refers to, and templates
// with their arguments. The bytes follow from it, so its hash is as good as theirs
// and costs a fraction. Each entry says how it is to be read, so that no two lists
// of entries give one record.
type record []byte

func (r record) refer(p *Parts) record {
	return append(append(r, 'r'), p.Digest[:]...)
}

func (r record) template(t *Template, splices [][]Parts, texts []string) record {
	r = append(append(r, 't'), t.digest[:]...) // which says how many of both there are
	for _, text := range texts {
		r = append(binary.AppendUvarint(r, uint64(len(text))), text...)
	}
	for _, pieces := range splices {
		r = binary.AppendUvarint(r, uint64(len(pieces)))
		for i := range pieces {
			r = append(r, pieces[i].Digest[:]...)
		}
	}
	return r
}
