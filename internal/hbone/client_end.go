// SPDX-License-Identifier: Apache-2.0

package hbone

import (
	"context"

	"golang.org/x/net/http2"
)

// Streams is how many streams are open or about to be.
func (cl *Client) Streams() int {
	cl.c.mu.Lock()
	defer cl.c.mu.Unlock()
	return len(cl.c.streams) + cl.promised
}

// CanTakeStream reports whether Connect would send its request at once. That may
// change right after; TryConnect finds out and acts in one step.
func (cl *Client) CanTakeStream() bool {
	cl.c.mu.Lock()
	defer cl.c.mu.Unlock()
	return cl.refusal() == nil && cl.free() > 0
}

// Done is closed when the connection has ended and all its streams with it.
func (cl *Client) Done() <-chan struct{} { return cl.c.failed }

// Err tells why the connection ended; nil before. It is io.EOF if the server
// closed it while no stream was open, and ErrClosed after Close and GoAway.
func (cl *Client) Err() error { return cl.c.endErr() }

// Close ends the connection now: open streams fail with ErrClosed, and the
// server learns by a GOAWAY. It returns when nothing of the connection is left,
// within little more than a second even if the server is stuck.
func (cl *Client) Close() {
	cl.c.fail(ErrClosed, true)
	<-cl.c.finished
}

// GoAway ends the connection in order: it opens no more streams and is closed
// when the last one has ended. GoAway waits for that; ending ctx closes at once,
// and its cause is returned.
func (cl *Client) GoAway(ctx context.Context) error {
	cl.leave(ErrClosed)
	select {
	case <-cl.c.finished:
		return nil
	case <-ctx.Done():
		cl.Close()
		return context.Cause(ctx)
	}
}

// leave opens no more streams and ends the connection when none is left.
func (cl *Client) leave(why error) {
	c := cl.c
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.ended {
		return
	}
	if cl.leaving == nil {
		cl.leaving = why
	}
	if !c.goneAway {
		c.goneAway = true
		c.wfr.WriteGoAway(0, http2.ErrCodeNo, nil)
		c.signal()
	}
	cl.dismiss()
	cl.grant()
}

// onGoAway lets the streams go on that the server still serves and fails the
// others, which may be tried elsewhere.
func (cl *Client) onGoAway(f *http2.GoAwayFrame) {
	why := &ConnError{Code: f.ErrCode, Reason: string(f.DebugData()), Remote: true}
	c := cl.c
	c.mu.Lock()
	var above []*Stream
	for id, s := range c.streams {
		if id > f.LastStreamID {
			above = append(above, s)
		}
	}
	c.mu.Unlock()
	for _, s := range above {
		s.abort(&UnprocessedError{why}, func() {})
	}
	cl.leave(why)
}
