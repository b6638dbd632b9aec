// SPDX-License-Identifier: Apache-2.0

package proxy

import (
	"io"
	"net"
	"sync"
	"testing"
)

// chunk is how much one iteration of a throughput benchmark moves.
const chunk = 64 << 20

// BenchmarkThroughput moves bytes from sleep to productpage, and back, on one
// connection: through both ztunnels, and past them for comparison.
func BenchmarkThroughput(b *testing.B) {
	p, _, _ := both(b, true)
	serve(b, p.productpage, "10.4.3.20:9080", sink)
	serve(b, p.productpage, "10.4.3.20:9081", source)
	serve(b, p.productpage, "10.9.9.9:80", sink)
	for name, addr := range map[string]string{"service": "10.8.14.226:9080", "pod": "10.4.3.20:9080", "passthrough": "10.9.9.9:80"} {
		b.Run(name+"/upload", func(b *testing.B) { transfer(b, p.sleep, addr, true) })
	}
	b.Run("pod/download", func(b *testing.B) { transfer(b, p.sleep, "10.4.3.20:9081", false) })
}

func transfer(b *testing.B, from *netns, addr string, up bool) {
	b.SetBytes(chunk)
	c, err := from.dial(addr)
	if err != nil {
		b.Fatal(err)
	}
	defer c.Close()
	b.ResetTimer()
	total := int64(chunk) * int64(b.N)
	if up {
		if _, err := io.Copy(c, io.LimitReader(zeroes{}, total)); err != nil {
			b.Fatal(err)
		}
		c.CloseWrite()
		if _, err := io.ReadFull(c, make([]byte, 1)); err != nil {
			b.Fatal(err)
		}
		return
	}
	n, err := io.Copy(io.Discard, struct{ io.Reader }{io.LimitReader(c, total)})
	if err != nil || n != total {
		b.Fatal(n, err)
	}
}

// sink takes everything and answers with one byte.
func sink(c *net.TCPConn) {
	io.Copy(io.Discard, struct{ io.Reader }{c})
	c.Write([]byte("."))
}

// source sends until nobody reads any more.
func source(c *net.TCPConn) { io.Copy(c, zeroes{}) }

// BenchmarkConnections opens connections, asks one question on each, and closes
// them.
func BenchmarkConnections(b *testing.B) {
	p, _, _ := both(b, true)
	serve(b, p.productpage, "10.4.3.20:9080", echo)
	b.ResetTimer()
	var wg sync.WaitGroup
	work := make(chan struct{})
	for range 20 {
		wg.Go(func() {
			for range work {
				if got, err := ask(b, p.sleep, "10.8.14.226:9080", "x"); err != nil || got != "x" {
					b.Errorf("%q, %v", got, err)
				}
			}
		})
	}
	for range b.N {
		work <- struct{}{}
	}
	close(work)
	wg.Wait()
}
