// SPDX-License-Identifier: Apache-2.0

package evidence

import (
	"errors"
	"slices"
)

// errNoStart says that a stream's SYN was not captured.
var errNoStart = errors.New("the connection was there before the capture began")

// errHole says that bytes in the middle of a stream were not captured.
var errHole = errors.New("bytes of the connection are missing in the capture")

// flows are the directions that have TCP segments, in the order they first
// appear.
func flows(all []segment) []Flow {
	var out []Flow
	for _, s := range all {
		if !slices.Contains(out, s.flow) {
			out = append(out, s.flow)
		}
	}
	return out
}

// stream puts together the bytes that were sent in one direction, from the SYN
// on. Sequence numbers count from it, so that a wrap does not matter below 2 GiB.
func stream(all []segment, flow Flow) ([]byte, error) {
	start, found := uint32(0), false
	for _, s := range all {
		if s.flow == flow && s.tcp.SYN {
			start, found = s.tcp.Seq+1, true
		}
	}
	if !found {
		return nil, errNoStart
	}
	type piece struct {
		at   int
		data []byte
	}
	var pieces []piece
	for _, s := range all {
		if s.flow == flow && len(s.tcp.Payload) > 0 {
			pieces = append(pieces, piece{int(int32(s.tcp.Seq - start)), s.tcp.Payload})
		}
	}
	slices.SortStableFunc(pieces, func(a, b piece) int { return a.at - b.at })
	var out []byte
	for _, p := range pieces {
		switch {
		case p.at > len(out):
			return out, errHole
		case p.at+len(p.data) > len(out):
			out = append(out, p.data[len(out)-p.at:]...) // the rest of a retransmission
		}
	}
	return out, nil
}
