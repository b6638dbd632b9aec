// SPDX-License-Identifier: Apache-2.0

package hbone

import (
	"bufio"
	"bytes"
	"errors"
	"io"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"
)

const (
	readBuffer = 32 << 10

	// How long a connection that we end may take to get rid of its last bytes, and
	// how long it then listens, because closing a TCP socket with unread input
	// would destroy the GOAWAY on its way.
	flushTimeout = time.Second
	lingerTime   = 250 * time.Millisecond
)

// conn is what client and server have in common.
type conn struct {
	cfg    Config
	server bool
	nc     net.Conn

	// Of the read loop alone.
	in          *frameSource
	fr          *http2.Framer
	recvLeft    int64  // what the peer may still send on the connection
	recvOwed    uint32 // what of the window it has not been given back
	sawSettings bool
	control     meter
	resetRate   meter

	heard atomic.Bool // a frame arrived since the keepalive last looked

	mu   sync.Mutex
	work sync.Cond // the write loop waits for bytes in out, or for the end
	room sync.Cond // senders of HEADERS wait for a smaller out

	out        []byte // finished frames, in the order of the wire
	wfr        *http2.Framer
	hpackEnc   *hpack.Encoder
	hpackBuf   bytes.Buffer
	sendq      sendQueue // streams that could send, were there room
	sendWindow int64

	peer       peerSettings
	ackedOurs  bool // the peer confirmed our SETTINGS
	knowsPeer  bool // the peer's SETTINGS are there
	streams    map[uint32]*Stream
	resets     resetLog
	nextID     uint32 // client: of the next stream
	maxPeerID  uint32 // server: the highest id the client opened
	goneAway   bool   // we sent the final GOAWAY
	lastServed uint32 // server: the id that GOAWAY named

	finish   error // the reason to end the connection once out is empty
	ended    bool
	err      error
	failed   chan struct{} // closed with ended
	writer   chan struct{} // closed when the write loop returned
	finished chan struct{} // closed when nothing of the connection is left

	// onRemove runs under mu after a stream left the map; onEnd after ended was set.
	onRemove, onEnd func()
	// onHeaders is the role's half of the read loop; onPingAck and onGoAway are nil
	// where the role ignores them.
	onHeaders func(*http2.MetaHeadersFrame) error
	onPingAck func(data [8]byte)
	onGoAway  func(*http2.GoAwayFrame)
}

// peerSettings are the limits that the peer set for us.
type peerSettings struct {
	initialWindow int64
	frameSize     int
	streams       uint32
	headerBytes   uint64
}

func newConn(nc net.Conn, cfg Config, server bool) *conn {
	cfg = cfg.withDefaults()
	c := &conn{
		cfg:        cfg,
		server:     server,
		nc:         nc,
		in:         &frameSource{br: bufio.NewReaderSize(nc, readBuffer)},
		recvLeft:   int64(cfg.ConnWindow),
		control:    newMeter(controlBurst, controlPerSec),
		resetRate:  newMeter(max(resetBurst, 2*float64(cfg.MaxStreams)), resetPerSec),
		sendWindow: initialWindow,
		peer: peerSettings{
			initialWindow: initialWindow,
			frameSize:     minFrameSize,
			streams:       assumedStreams,
			headerBytes:   1<<64 - 1,
		},
		streams:  map[uint32]*Stream{},
		resets:   newResetLog(max(1024, int(min(cfg.MaxStreams, 1<<16)))),
		failed:   make(chan struct{}),
		writer:   make(chan struct{}),
		finished: make(chan struct{}),
	}
	c.work.L, c.room.L = &c.mu, &c.mu
	c.fr = http2.NewFramer(io.Discard, c.in)
	c.fr.SetMaxReadFrameSize(cfg.MaxFrameSize)
	c.fr.ReadMetaHeaders = hpack.NewDecoder(4096, nil)
	c.fr.MaxHeaderListSize = cfg.MaxHeaderBytes
	c.wfr = http2.NewFramer(outWriter{c}, nil)
	c.hpackEnc = hpack.NewEncoder(&c.hpackBuf)
	c.greet() // before anybody can queue a request
	return c
}

// greet queues the first frames of the connection.
func (c *conn) greet() {
	if !c.server {
		c.reserveOut(len(http2.ClientPreface))
		c.out = append(c.out, http2.ClientPreface...)
	}
	settings := []http2.Setting{
		{ID: http2.SettingInitialWindowSize, Val: c.cfg.StreamWindow},
		{ID: http2.SettingMaxFrameSize, Val: c.cfg.MaxFrameSize},
		{ID: http2.SettingMaxHeaderListSize, Val: c.cfg.MaxHeaderBytes},
	}
	if c.server {
		settings = append(settings, http2.Setting{ID: http2.SettingMaxConcurrentStreams, Val: c.cfg.MaxStreams})
	} else {
		settings = append(settings, http2.Setting{ID: http2.SettingEnablePush, Val: 0})
	}
	c.wfr.WriteSettings(settings...)
	if more := c.cfg.ConnWindow - initialWindow; more > 0 {
		c.wfr.WriteWindowUpdate(0, more)
	}
}

// run serves the connection until nothing is left of it. It always closes nc.
func (c *conn) run() {
	c.nc.SetReadDeadline(time.Now().Add(c.cfg.HandshakeTimeout))
	go c.writeLoop()
	stop := c.startKeepAlive()
	err := c.readLoop()
	c.fail(c.describe(err), isConnError(err))
	stop()
	<-c.writer
	c.linger()
	c.nc.Close()
	close(c.finished)
}

func isConnError(err error) bool {
	var ce *ConnError
	return errors.As(err, &ce) && !ce.Remote
}

// describe turns the end of input into what it means: a connection without open
// streams ended in order (io.EOF), any other in the middle of something.
func (c *conn) describe(err error) error {
	if !errors.Is(err, io.EOF) {
		return err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.streams) == 0 {
		return io.EOF
	}
	return io.ErrUnexpectedEOF
}

// fail ends the connection; the first reason given stays. With flush the
// frames queued so far, and a GOAWAY naming the reason, still go out; without,
// the socket is closed at once.
func (c *conn) fail(err error, flush bool) {
	c.mu.Lock()
	if c.ended {
		c.mu.Unlock()
		return
	}
	c.ended, c.err = true, err
	if flush {
		c.farewell(err)
	}
	open := c.streams
	c.streams = map[uint32]*Stream{}
	for _, s := range open {
		s.detach(err)
	}
	c.sendq = sendQueue{}
	if c.onEnd != nil {
		c.onEnd()
	}
	close(c.failed)
	c.work.Signal()
	c.room.Broadcast()
	c.mu.Unlock()

	if flush {
		c.nc.SetWriteDeadline(time.Now().Add(flushTimeout))
	} else {
		c.nc.Close()
	}
	for _, s := range open {
		s.stopReading(err)
	}
}

// farewell queues the last GOAWAY.
func (c *conn) farewell(err error) {
	code, reason := http2.ErrCodeNo, ""
	var ce *ConnError
	if errors.As(err, &ce) && !ce.Remote {
		code, reason = ce.Code, ce.Reason
	}
	if c.goneAway && code == http2.ErrCodeNo {
		return
	}
	c.wfr.WriteGoAway(c.maxPeerID, code, []byte(reason))
}

// linger reads on for a moment after the last GOAWAY, so that the peer gets it.
func (c *conn) linger() {
	io.Copy(io.Discard, c.nc) // ends by EOF or by the deadline that the write loop set
}

// remove takes a stream out of the connection. The caller holds mu.
func (c *conn) remove(s *Stream) {
	if c.streams[s.id] != s {
		return
	}
	delete(c.streams, s.id)
	if c.onRemove != nil {
		c.onRemove()
	}
}

func (c *conn) lookup(id uint32) *Stream {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.streams[id]
}

func (c *conn) endErr() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.err
}
