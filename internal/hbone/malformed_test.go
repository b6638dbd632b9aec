// SPDX-License-Identifier: Apache-2.0

package hbone

import (
	"testing"

	"golang.org/x/net/http2"
)

// Violations that end the connection, with the code RFC 9113 names.
func TestConnectionErrors(t *testing.T) {
	cases := map[string]struct {
		code http2.ErrCode
		send func(r *raw)
	}{
		"DATA on stream 0":       {http2.ErrCodeProtocol, func(r *raw) { r.WriteData(0, false, []byte("x")) }},
		"DATA on idle stream":    {http2.ErrCodeProtocol, func(r *raw) { r.WriteData(1, false, []byte("x")) }},
		"RST_STREAM on idle":     {http2.ErrCodeProtocol, func(r *raw) { r.WriteRSTStream(1, http2.ErrCodeCancel) }},
		"WINDOW_UPDATE on idle":  {http2.ErrCodeProtocol, func(r *raw) { r.WriteWindowUpdate(1, 1) }},
		"WINDOW_UPDATE of 0":     {http2.ErrCodeProtocol, func(r *raw) { r.WriteWindowUpdate(0, 0) }},
		"window overflow":        {http2.ErrCodeFlowControl, func(r *raw) { r.WriteWindowUpdate(0, maxWindow) }},
		"even stream":            {http2.ErrCodeProtocol, func(r *raw) { r.connectRequest(2) }},
		"stream id going back":   {http2.ErrCodeStreamClosed, func(r *raw) { r.connectRequest(5); r.connectRequest(3) }},
		"PUSH_PROMISE":           {http2.ErrCodeProtocol, func(r *raw) { r.WriteRawFrame(http2.FramePushPromise, 4, 1, []byte{0, 0, 0, 2}) }},
		"PING too short":         {http2.ErrCodeFrameSize, func(r *raw) { r.WriteRawFrame(http2.FramePing, 0, 0, []byte{1}) }},
		"PING on a stream":       {http2.ErrCodeProtocol, func(r *raw) { r.WriteRawFrame(http2.FramePing, 0, 1, make([]byte, 8)) }},
		"SETTINGS on a stream":   {http2.ErrCodeProtocol, func(r *raw) { r.WriteRawFrame(http2.FrameSettings, 0, 1, nil) }},
		"SETTINGS of 5 bytes":    {http2.ErrCodeFrameSize, func(r *raw) { r.WriteRawFrame(http2.FrameSettings, 0, 0, make([]byte, 5)) }},
		"initial window too big": {http2.ErrCodeFlowControl, func(r *raw) { r.WriteSettings(http2.Setting{ID: http2.SettingInitialWindowSize, Val: 1 << 31}) }},
		"frame size too small":   {http2.ErrCodeProtocol, func(r *raw) { r.WriteSettings(http2.Setting{ID: http2.SettingMaxFrameSize, Val: 1000}) }},
		"frame too large":        {http2.ErrCodeFrameSize, func(r *raw) { r.WriteRawFrame(0xfa, 0, 0, make([]byte, 16385)) }},
		"padding too long": {http2.ErrCodeProtocol, func(r *raw) {
			r.connectRequest(1)
			r.WriteRawFrame(http2.FrameData, http2.FlagDataPadded, 1, []byte{9, 1})
		}},
		"padded but empty":    {http2.ErrCodeFrameSize, func(r *raw) { r.connectRequest(1); r.WriteRawFrame(http2.FrameData, http2.FlagDataPadded, 1, nil) }},
		"HEADERS without pad": {http2.ErrCodeFrameSize, func(r *raw) { r.WriteRawFrame(http2.FrameHeaders, http2.FlagHeadersPadded, 1, nil) }},
		"bad HPACK": {http2.ErrCodeCompression, func(r *raw) {
			r.WriteRawFrame(http2.FrameHeaders, http2.FlagHeadersEndHeaders, 1, []byte{0xff, 0xff, 0xff})
		}},
		"lone CONTINUATION": {http2.ErrCodeProtocol, func(r *raw) { r.WriteContinuation(1, true, nil) }},
		"interrupted headers": {http2.ErrCodeProtocol, func(r *raw) {
			r.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, BlockFragment: r.block(":method", "CONNECT")})
			r.WritePing(false, [8]byte{})
		}},
		"DATA after the peer's reset": {http2.ErrCodeStreamClosed, func(r *raw) {
			r.connectRequest(1)
			r.WriteRSTStream(1, http2.ErrCodeCancel)
			r.WriteData(1, false, []byte("x"))
		}},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			r, served := rawClient(t, Config{}, untilGone)
			c.send(r)
			r.wantGoAway(c.code)
			r.conn.Close()
			err := <-served
			served <- err
			if err == nil {
				t.Error("Serve returned nil")
			}
		})
	}
}

// Violations that cost the stream; the connection goes on.
func TestStreamErrors(t *testing.T) {
	cases := map[string]struct {
		code http2.ErrCode
		send func(r *raw)
	}{
		"no authority":       {http2.ErrCodeProtocol, func(r *raw) { r.headers(1, false, ":method", "CONNECT") }},
		"CONNECT with path":  {http2.ErrCodeProtocol, func(r *raw) { r.headers(1, false, ":method", "CONNECT", ":authority", "a:1", ":path", "/") }},
		"no method":          {http2.ErrCodeProtocol, func(r *raw) { r.headers(1, false, ":authority", "a:1") }},
		"GET without path":   {http2.ErrCodeProtocol, func(r *raw) { r.headers(1, true, ":method", "GET", ":scheme", "http") }},
		"unknown pseudo":     {http2.ErrCodeProtocol, func(r *raw) { r.headers(1, false, ":method", "CONNECT", ":authority", "a:1", ":x", "y") }},
		"response pseudo":    {http2.ErrCodeProtocol, func(r *raw) { r.headers(1, false, ":status", "200") }},
		"pseudo after field": {http2.ErrCodeProtocol, func(r *raw) { r.headers(1, false, ":method", "CONNECT", "x", "y", ":authority", "a:1") }},
		"upper-case field":   {http2.ErrCodeProtocol, func(r *raw) { r.headers(1, false, ":method", "CONNECT", ":authority", "a:1", "X", "y") }},
		"connection field":   {http2.ErrCodeProtocol, func(r *raw) { r.headers(1, false, ":method", "CONNECT", ":authority", "a:1", "connection", "close") }},
		"te: gzip":           {http2.ErrCodeProtocol, func(r *raw) { r.headers(1, false, ":method", "CONNECT", ":authority", "a:1", "te", "gzip") }},
		"newline in a value": {http2.ErrCodeProtocol, func(r *raw) { r.headers(1, false, ":method", "CONNECT", ":authority", "a:1", "x", "a\nb") }},
		"DATA after the end": {http2.ErrCodeStreamClosed, func(r *raw) { r.connectRequest(1); r.WriteData(1, true, nil); r.WriteData(1, false, []byte("x")) }},
		"HEADERS after the end": {http2.ErrCodeStreamClosed, func(r *raw) {
			r.connectRequest(1)
			r.WriteData(1, true, nil)
			r.headers(1, true, "x", "y")
		}},
		"trailers without end": {http2.ErrCodeProtocol, func(r *raw) { r.connectRequest(1); r.headers(1, false, "x", "y") }},
		"pseudo in trailers":   {http2.ErrCodeProtocol, func(r *raw) { r.connectRequest(1); r.headers(1, true, ":method", "CONNECT") }},
		"window update of 0":   {http2.ErrCodeProtocol, func(r *raw) { r.connectRequest(1); r.WriteWindowUpdate(1, 0) }},
		"window overflow":      {http2.ErrCodeFlowControl, func(r *raw) { r.connectRequest(1); r.WriteWindowUpdate(1, maxWindow) }},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			r, _ := rawClient(t, Config{}, untilGone)
			c.send(r)
			r.wantReset(1, c.code)
			r.WriteData(1, false, []byte("late")) // was on its way
			r.headers(1, true, "late", "too")
			r.alive()
		})
	}
}

// What must not be answered with an error.
func TestHarmlessFrames(t *testing.T) {
	r, _ := rawClient(t, Config{}, untilGone,
		http2.Setting{ID: http2.SettingEnableConnectProtocol, Val: 1}, http2.Setting{ID: 0x4242, Val: 7})
	r.WriteRawFrame(0xfa, 0xff, 77, []byte("grease"))
	r.WriteRawFrame(http2.FramePriority, 0, 3, []byte{0, 0, 0, 1, 9})
	r.WritePing(true, [8]byte{4, 2}) // nobody asked
	r.WriteSettingsAck()
	r.connectRequest(1)
	r.WriteRSTStream(1, http2.ErrCodeCancel)
	r.WriteRSTStream(1, http2.ErrCodeCancel)
	r.WriteWindowUpdate(1, 5)
	r.alive()
}

func TestNotHTTP2(t *testing.T) {
	checkGoroutines(t)
	a, b := tcpPair(t)
	served := make(chan error, 1)
	go func() { served <- Serve(t.Context(), b, Config{}, nil) }()
	a.Write([]byte("GET / HTTP/1.1\r\nHost: productpage\r\n\r\n"))
	r := newRaw(t, a)
	r.wantGoAway(http2.ErrCodeProtocol)
	a.Close()
	if err := <-served; err == nil {
		t.Error("Serve returned nil")
	}
}

func TestFirstFrameMustBeSettings(t *testing.T) {
	checkGoroutines(t)
	a, b := tcpPair(t)
	served := make(chan error, 1)
	go func() { served <- Serve(t.Context(), b, Config{}, nil) }()
	r := newRaw(t, a)
	a.Write([]byte(http2.ClientPreface))
	r.WritePing(false, [8]byte{})
	r.wantGoAway(http2.ErrCodeProtocol)
	a.Close()
	<-served
}
