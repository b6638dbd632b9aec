// SPDX-License-Identifier: Apache-2.0

package config

import (
	"fmt"
	"hash/maphash"

	listenerv3 "github.com/envoyproxy/go-control-plane/envoy/config/listener/v3"
	"google.golang.org/protobuf/encoding/protowire"
)

// A listener of a large mesh has hundreds of megabytes of filter chains. They are
// taken out of it before it is decoded and decoded one by one, so that of all the
// messages only one chain's are in memory at a time.

// pieces takes a listener's wire form apart: its filter chains, and the rest.
func pieces(b []byte) (rest []byte, chains [][]byte, err error) {
	field := (&listenerv3.Listener{}).ProtoReflect().Descriptor().Fields().ByName("filter_chains").Number()
	for len(b) > 0 {
		num, typ, n := protowire.ConsumeTag(b)
		if n < 0 {
			return nil, nil, fmt.Errorf("decoding a listener: %w", protowire.ParseError(n))
		}
		size := protowire.ConsumeFieldValue(num, typ, b[n:])
		if size < 0 {
			return nil, nil, fmt.Errorf("decoding a listener: %w", protowire.ParseError(size))
		}
		if num == field && typ == protowire.BytesType {
			chain, _ := protowire.ConsumeBytes(b[n:])
			chains = append(chains, chain)
		} else {
			rest = append(rest, b[:n+size]...)
		}
		b = b[n+size:]
	}
	return rest, chains, nil
}

// digest stands for a piece of wire form. It has 128 bits, because two pieces with
// the same digest would be taken for one.
type digest [2]uint64

// hasher makes digests; those of different hashers have nothing in common.
type hasher [2]maphash.Seed

func newHasher() hasher { return hasher{maphash.MakeSeed(), maphash.MakeSeed()} }

func (h hasher) digest(b []byte) digest {
	return digest{maphash.Bytes(h[0], b), maphash.Bytes(h[1], b)}
}
