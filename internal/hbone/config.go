// SPDX-License-Identifier: Apache-2.0

package hbone

import "time"

// Config holds the limits of one connection. The zero value of every field
// stands for the default named beside it.
type Config struct {
	// StreamWindow is how many received bytes one stream may hold that the
	// application has not read yet. 256 KiB.
	StreamWindow uint32

	// ConnWindow is how many bytes may be on their way to us on the whole
	// connection. It is given back on arrival and so bounds no memory; it only has
	// to cover bandwidth times round trip. 1 MiB, and never less than the 65,535
	// bytes that every peer may assume.
	ConnWindow uint32

	// MaxStreams is how many streams may be open at the same time. A server
	// announces it and refuses more; a client opens no more, even where the server
	// would allow it. 1024.
	MaxStreams uint32

	// MaxFrameSize is the largest frame payload that we accept, 16,384 to
	// 16,777,215 bytes. 16 KiB.
	MaxFrameSize uint32

	// MaxHeaderBytes bounds one header list as RFC 9113 section 6.5.2 counts it.
	// 64 KiB.
	MaxHeaderBytes uint32

	// KeepAlive is how long the connection may be silent before a PING asks
	// whether the peer is still there. 0 sends none.
	KeepAlive time.Duration

	// KeepAliveTimeout is how long the peer may take to answer that PING before
	// the connection counts as dead. 10 s.
	KeepAliveTimeout time.Duration

	// HandshakeTimeout is how long the peer may take to send its preface and first
	// SETTINGS. 10 s.
	HandshakeTimeout time.Duration

	// DrainTimeout is how long Serve lets open streams finish after its context
	// ended. 10 s; negative waits for them without a bound.
	DrainTimeout time.Duration
}

// Limits that are nobody's choice.
const (
	// initialWindow is every window before anybody said otherwise (RFC 9113
	// section 6.9.2), and maxWindow what none may exceed (section 6.9.1).
	initialWindow = 65535
	maxWindow     = 1<<31 - 1

	// minFrameSize is what every peer accepts (RFC 9113 section 4.2).
	minFrameSize = 16384
	maxFrameSize = 1<<24 - 1

	// assumedStreams is how many streams a client opens before the server's
	// SETTINGS arrived. RFC 9113 section 6.5.2 recommends servers not to allow
	// fewer.
	assumedStreams = 100

	maxStreamID = 1<<31 - 1
)

func (c Config) withDefaults() Config {
	setDefault(&c.StreamWindow, 256<<10)
	setDefault(&c.ConnWindow, 1<<20)
	setDefault(&c.MaxStreams, 1024)
	setDefault(&c.MaxFrameSize, minFrameSize)
	setDefault(&c.MaxHeaderBytes, 64<<10)
	setDefault(&c.KeepAliveTimeout, 10*time.Second)
	setDefault(&c.HandshakeTimeout, 10*time.Second)
	setDefault(&c.DrainTimeout, 10*time.Second)
	c.StreamWindow = min(c.StreamWindow, maxWindow)
	c.ConnWindow = min(max(c.ConnWindow, initialWindow), maxWindow)
	c.MaxFrameSize = min(max(c.MaxFrameSize, minFrameSize), maxFrameSize)
	return c
}

func setDefault[T comparable](field *T, value T) {
	var zero T
	if *field == zero {
		*field = value
	}
}
