// SPDX-License-Identifier: Apache-2.0

package hbone

import (
	"errors"
	"fmt"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"
)

// ErrClosed is the error of a connection that this side closed, and of streams
// that were open then.
var ErrClosed = errors.New("connection closed")

// ErrNoMoreStreams is the reason when a connection has used up its stream ids.
var ErrNoMoreStreams = errors.New("stream ids used up")

// ErrFull is why TryConnect opened no stream: as many are open as the server or
// Config allows. A server that refuses what was asked for before its SETTINGS
// arrived is taken to mean the same.
var ErrFull = errors.New("no more streams may be open at the same time")

// errWriteClosed is what writing after CloseWrite returns.
var errWriteClosed = errors.New("writing after CloseWrite")

// ResetError says that a stream was reset. Remote tells by whom.
type ResetError struct {
	Code   http2.ErrCode
	Remote bool // the peer sent RST_STREAM; otherwise this side did
}

func (e *ResetError) Error() string {
	if e.Remote {
		return fmt.Sprintf("stream reset by peer: %s", e.Code)
	}
	return fmt.Sprintf("stream reset: %s", e.Code)
}

// ConnError says that the whole connection ended with an HTTP/2 error code,
// which either side may have found. Reason is for people.
type ConnError struct {
	Code   http2.ErrCode
	Reason string
	Remote bool // the peer's GOAWAY named the code
}

func (e *ConnError) Error() string {
	who := "connection error"
	if e.Remote {
		who = "connection ended by peer"
	}
	if e.Reason == "" {
		return fmt.Sprintf("%s: %s", who, e.Code)
	}
	return fmt.Sprintf("%s: %s: %s", who, e.Code, e.Reason)
}

// StatusError is what Connect returns when the server answered, but not with
// 2xx: the tunnel was not built.
type StatusError struct {
	Status int
	Header []hpack.HeaderField // without pseudo-header fields
}

func (e *StatusError) Error() string {
	return fmt.Sprintf("CONNECT answered with status %d", e.Status)
}

// UnprocessedError wraps the reason of a Connect that the server certainly did
// not act upon (RFC 9113 section 8.7): it was refused with REFUSED_STREAM, lies
// above a GOAWAY's last stream, or was never sent. It is safe to try again on
// another connection.
type UnprocessedError struct{ Err error }

func (e *UnprocessedError) Error() string { return "request not processed: " + e.Err.Error() }

// Unwrap gives the reason.
func (e *UnprocessedError) Unwrap() error { return e.Err }

func protocolError(format string, args ...any) error {
	return &ConnError{Code: http2.ErrCodeProtocol, Reason: fmt.Sprintf(format, args...)}
}

func tooMuch(what string) error {
	return &ConnError{Code: http2.ErrCodeEnhanceYourCalm, Reason: what}
}

func streamError(id uint32, code http2.ErrCode, reason string) error {
	return http2.StreamError{StreamID: id, Code: code, Cause: errors.New(reason)}
}
