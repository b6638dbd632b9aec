// SPDX-License-Identifier: Apache-2.0

package app

import (
	"crypto/sha256"
	"encoding/hex"
	"hash"
	"io"
	"math/rand/v2"
)

// stream is a body of known length whose bytes do not repeat and follow from
// the length alone, so that both ends can say what must arrive. It keeps the
// checksum of what was read.
type stream struct {
	random *rand.ChaCha8
	left   int64
	sum    hash.Hash
}

func newStream(length int64) *stream {
	var seed [32]byte
	copy(seed[:], "ambient22 lab body")
	for i := range 8 {
		seed[24+i] = byte(length >> (8 * i))
	}
	return &stream{random: rand.NewChaCha8(seed), left: length, sum: sha256.New()}
}

// Read implements io.Reader.
func (s *stream) Read(p []byte) (int, error) {
	if s.left == 0 {
		return 0, io.EOF
	}
	if int64(len(p)) > s.left {
		p = p[:s.left]
	}
	n, _ := s.random.Read(p) // never fails
	s.left -= int64(n)
	s.sum.Write(p[:n])
	return n, nil
}

// Sum is the checksum, in hex, of what was read so far.
func (s *stream) Sum() string { return hex.EncodeToString(s.sum.Sum(nil)) }

// expected is the checksum of a whole body.
func expected(length int64) (string, error) {
	s := newStream(length)
	_, err := io.Copy(io.Discard, s)
	return s.Sum(), err
}

// digest reads a body to its end.
func digest(r io.Reader) (int64, string, error) {
	sum := sha256.New()
	n, err := io.CopyBuffer(onlyWriter{sum}, r, make([]byte, 128<<10))
	return n, hex.EncodeToString(sum.Sum(nil)), err
}
