// SPDX-License-Identifier: Apache-2.0

// Package hbone carries byte streams through HTTP/2 CONNECT tunnels: the
// transport that two ztunnels speak on port 15008.
//
// One connection (plain or TLS, any [net.Conn]) holds many tunnels. [NewClient]
// opens them with [Client.Connect], [Serve] hands each request to a function
// that accepts or rejects it. Both ends then have a [Stream], which behaves as
// a TCP connection does: each direction is closed on its own (END_STREAM stands
// for FIN), a reset is a reset (RST_STREAM stands for RST, RFC 9113 section
// 8.5), and a slow reader holds its writer back.
//
// # Why not net/http
//
// The server of net/http cannot end its response while the request still flows,
// and cannot reset a stream with a code of its choice; its client hides the
// peer's reset code behind an unexported type. Both are what a proxy of TCP
// connections needs most. So this package keeps the frame and header codecs of
// golang.org/x/net/http2 and does the connection itself.
//
// # How a connection works
//
// Two goroutines serve a connection. The read loop takes one frame after the
// other; it never waits for anything but the socket, so that one stream nobody
// reads cannot stall the others. The write loop takes the bytes collected in
// one output buffer and writes them with one call. Whoever has something to say
// appends a finished frame to that buffer under the connection's lock; only
// DATA may find it full, and then its stream queues up and is served in turn,
// one frame per stream and round.
//
// # Memory
//
// The connection's receive window is given back as soon as bytes arrive, a
// stream's window only when the application has read them. A stream nobody
// reads thus holds at most its own window ([Config.StreamWindow]). Sending
// buffers nothing per stream: [Stream.Write] returns when its bytes are in the
// connection's output buffer, which has a fixed size.
//
// # What is left out
//
// Server push, priorities, extended CONNECT, bodies and trailers of ordinary
// requests: a tunnel needs none of them. Priority signals are ignored, and the
// content-length of a request that is not CONNECT is not compared with its body.
package hbone
