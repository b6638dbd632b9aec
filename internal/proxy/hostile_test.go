// SPDX-License-Identifier: Apache-2.0

package proxy

import (
	"bytes"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"os"
	"strings"
	"testing"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"
)

// What comes to the tunnels' port and is no tunnel is closed, and the others do
// not notice.
func TestHostilePeers(t *testing.T) {
	p, _, b := both(t, true)
	serve(t, p.productpage, "10.4.3.20:9080", echo)
	plain := func(t *testing.T) net.Conn {
		c, err := p.ztunnelA.dial("10.4.3.20:15008")
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { c.Close() })
		deadline(t, c)
		return c
	}
	secure := func(t *testing.T, alpn ...string) *tls.Conn {
		return tls.Client(plain(t), &tls.Config{InsecureSkipVerify: true, NextProtos: alpn})
	}
	for name, begin := range map[string]func(t *testing.T) net.Conn{
		"no TLS": func(t *testing.T) net.Conn {
			c := plain(t)
			c.Write(bytes.Repeat([]byte{0xff, 0x00, 0x31}, 1000))
			return c
		},
		"HTTP/1": func(t *testing.T) net.Conn {
			c := secure(t)
			io.WriteString(c, "CONNECT 10.4.3.20:9080 HTTP/1.1\r\nHost: 10.4.3.20:9080\r\n\r\n")
			return c
		},
		"huge header": func(t *testing.T) net.Conn {
			c := secure(t, "h2")
			io.WriteString(c, http2.ClientPreface)
			go hugeRequest(c)
			return c
		},
	} {
		t.Run(name, func(t *testing.T) {
			// Ends by an end or by a reset; the deadline fails otherwise.
			if _, err := io.Copy(io.Discard, begin(t)); os.IsTimeout(err) {
				t.Error(err)
			}
		})
	}
	mustAsk(t, p.sleep, "10.8.14.226:9080", "still there")
	b.untilStat("listener.0.0.0.0_15008.downstream_cx_active", 1) // that one's tunnel
}

// hugeRequest sends a request with a header of two megabytes.
func hugeRequest(c net.Conn) {
	fr := http2.NewFramer(c, nil)
	fr.WriteSettings()
	var buf bytes.Buffer
	enc := hpack.NewEncoder(&buf)
	enc.WriteField(hpack.HeaderField{Name: ":method", Value: "CONNECT"})
	enc.WriteField(hpack.HeaderField{Name: ":authority", Value: "10.4.3.20:9080"})
	enc.WriteField(hpack.HeaderField{Name: "x", Value: strings.Repeat("~\x01", 1<<20)})
	fr.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, BlockFragment: buf.Next(16 << 10)})
	for buf.Len() > 0 {
		if fr.WriteContinuation(1, buf.Len() <= 16<<10, buf.Next(16<<10)) != nil {
			return // refused already
		}
	}
}

// Connections that are reset as soon as they stand leave nothing behind.
func TestFloodOfResets(t *testing.T) {
	p, a, b := both(t, true)
	serve(t, p.productpage, "10.4.3.20:9080", echo)
	serve(t, p.productpage, "10.9.9.9:80", echo)
	before := descriptors(t, a) + descriptors(t, b)
	for i := range 1000 {
		c, err := p.sleep.dial([]string{"10.8.14.226:9080", "10.4.3.20:9080", "10.9.9.9:80"}[i%3])
		if err != nil {
			t.Fatal(err)
		}
		c.SetLinger(0)
		c.Close()
	}
	mustAsk(t, p.sleep, "10.8.14.226:9080", "still there")
	a.untilStat("listener.0.0.0.0_15001.downstream_cx_active", 0)
	b.untilStat("http.inbound_hcm.downstream_rq_active", 0)
	// What stays is the tunnels' connections and some pipes.
	wait(t, "the descriptors are closed", func() bool { return descriptors(t, a)+descriptors(t, b) < before+200 })
}

func descriptors(t *testing.T, p *testProxy) int {
	t.Helper()
	fds, err := os.ReadDir(fmt.Sprintf("/proc/%d/fd", p.process.Pid))
	if err != nil {
		t.Fatal(err)
	}
	return len(fds)
}
