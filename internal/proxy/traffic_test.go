// SPDX-License-Identifier: Apache-2.0

package proxy

import (
	"bytes"
	"crypto/rand"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"hash/crc32"
	"io"
	"net"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// serve runs handle for each connection to addr in the namespace; the address
// of each peer is sent to the returned channel.
func serve(t testing.TB, ns *netns, addr string, handle func(c *net.TCPConn)) <-chan string {
	t.Helper()
	l := ns.listen(addr)
	peers := make(chan string, 16)
	go func() {
		for {
			c, err := l.AcceptTCP()
			if err != nil {
				return
			}
			select {
			case peers <- peerOf(c).String():
			default: // nobody asks
			}
			go func() {
				defer c.Close()
				deadline(t, c)
				handle(c)
			}()
		}
	}()
	return peers
}

// echo sends back what it gets and ends with its peer.
func echo(c *net.TCPConn) {
	io.Copy(c, struct{ io.Reader }{c})
	c.CloseWrite()
	io.Copy(io.Discard, c)
}

// ask sends a question and returns the answer.
func ask(t testing.TB, ns *netns, addr, question string) (string, error) {
	t.Helper()
	c, err := ns.dial(addr)
	if err != nil {
		return "", err
	}
	defer c.Close()
	deadline(t, c)
	if _, err := io.WriteString(c, question); err != nil {
		return "", err
	}
	c.CloseWrite()
	answer, err := io.ReadAll(c)
	return string(answer), err
}

func mustAsk(t testing.TB, ns *netns, addr, question string) {
	t.Helper()
	if got, err := ask(t, ns, addr, question); err != nil || got != question {
		t.Fatalf("%s answered %q, %v", addr, got, err)
	}
}

func TestEveryWay(t *testing.T) {
	p, a, b := both(t, true)
	pod := serve(t, p.productpage, "10.4.3.20:9080", echo)
	outside := serve(t, p.productpage, "10.9.9.9:80", echo)
	local := serve(t, p.sleep, "10.4.4.19:80", echo)
	for _, way := range []struct {
		name, to string
		from     *netns
		peers    <-chan string
		peer     string
	}{
		{"service", "10.8.14.226:9080", p.sleep, pod, "10.4.4.18"},
		{"pod", "10.4.3.20:9080", p.sleep, pod, "10.4.4.18"},
		{"service on the same node", "10.8.4.10:80", p.sleep, local, "10.4.4.18"},
		{"outside of the mesh", "10.9.9.9:80", p.sleep, outside, "10.4.4.19"},
		{"plain, from outside of the mesh", "10.4.3.20:9080", p.ztunnelA, pod, "10.4.4.18"},
	} {
		t.Run(way.name, func(t *testing.T) {
			mustAsk(t, way.from, way.to, "to "+way.name)
			if got := <-way.peers; got != way.peer {
				t.Errorf("the server saw %s, want %s", got, way.peer)
			}
		})
	}
	b.untilStat("tcp.virtual_inbound_plaintext.downstream_cx_total", 1)
	a.untilStat("tcp.PassthroughCluster.downstream_cx_total", 1)
	a.untilStat("listener.0.0.0.0_15008.ssl.handshake", 1)
	t.Run("to the capture port itself", func(t *testing.T) {
		if got, _ := ask(t, p.sleep, "10.4.3.20:15001", "x"); got != "" {
			t.Errorf("answered %q", got)
		}
		a.untilStat("listener.0.0.0.0_15001.no_filter_chain_match", 1)
	})
	t.Run("tunnel to a pod that is not there", func(t *testing.T) {
		// Captured for another listener's port: handed over to that one, whose
		// last chain leads nowhere.
		if _, err := ask(t, p.sleep, "10.4.3.99:15008", "x"); err == nil {
			t.Error("answered")
		}
		a.untilStat("tcp.BlackHoleCluster.downstream_cx_no_route", 1)
	})
}

func TestRefusedUpstreamResets(t *testing.T) {
	p, _, _ := both(t, true)
	for _, addr := range []string{"10.8.14.226:9080", "10.4.3.20:81", "10.9.9.9:81"} {
		if _, err := ask(t, p.sleep, addr, "x"); !errors.Is(err, syscall.ECONNRESET) {
			t.Errorf("%s: %v, want a reset", addr, err)
		}
	}
}

func TestLargeBodiesBothWays(t *testing.T) {
	p, _, _ := both(t, true)
	body := make([]byte, 64<<20)
	rand.Read(body)
	want := sha256.Sum256(body)
	sums := make(chan [32]byte, 2)
	exchange := func(c *net.TCPConn) {
		var wg sync.WaitGroup
		wg.Go(func() {
			if _, err := io.Copy(c, bytes.NewReader(body)); err != nil {
				t.Error(err)
			}
			c.CloseWrite()
		})
		h := sha256.New()
		if _, err := io.Copy(h, c); err != nil {
			t.Error(err)
		}
		sums <- [32]byte(h.Sum(nil))
		wg.Wait()
	}
	serve(t, p.productpage, "10.4.3.20:9080", exchange)
	c, err := p.sleep.dial("10.8.14.226:9080")
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	deadline(t, c)
	exchange(c)
	for range 2 {
		if got := <-sums; got != want {
			t.Error("the body changed on the way")
		}
	}
}

// A GiB each way, at the same time, on one connection.
func TestGiBBothWays(t *testing.T) {
	p, _, _ := both(t, true)
	const size = large
	table := crc32.MakeTable(crc32.Castagnoli)
	want := crc32.New(table)
	if _, err := io.Copy(want, io.LimitReader(&pattern{}, size)); err != nil {
		t.Fatal(err)
	}
	exchange := func(c *net.TCPConn) {
		var wg sync.WaitGroup
		wg.Go(func() {
			if _, err := io.Copy(c, io.LimitReader(&pattern{}, size)); err != nil {
				t.Error(err)
			}
			c.CloseWrite()
		})
		sum := crc32.New(table)
		n, err := io.Copy(sum, c)
		if err != nil || n != size || sum.Sum32() != want.Sum32() {
			t.Errorf("%d bytes came, checksum %08x instead of %08x: %v", n, sum.Sum32(), want.Sum32(), err)
		}
		wg.Wait()
	}
	served := make(chan struct{})
	serve(t, p.productpage, "10.4.3.20:9080", func(c *net.TCPConn) {
		c.SetDeadline(time.Now().Add(3 * time.Minute))
		exchange(c)
		close(served)
	})
	c, err := p.sleep.dial("10.8.14.226:9080")
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	c.SetDeadline(time.Now().Add(3 * time.Minute))
	began := time.Now()
	exchange(c)
	<-served
	t.Logf("%d MiB each way in %v", size>>20, time.Since(began).Round(time.Millisecond))
}

// pattern is endless bytes in which every 8 KiB differ from all others.
type pattern struct {
	block [8 << 10]byte
	n     uint64
	left  []byte
}

func (p *pattern) Read(b []byte) (int, error) {
	if len(p.left) == 0 {
		p.n++
		for i := 0; i < len(p.block); i += 512 {
			binary.LittleEndian.PutUint64(p.block[i:], p.n*0x9e3779b97f4a7c15+uint64(i))
		}
		p.left = p.block[:]
	}
	k := copy(b, p.left)
	p.left = p.left[k:]
	return k, nil
}

func TestResetPasses(t *testing.T) {
	p, a, b := both(t, true)
	fromServer := make(chan error, 1)
	handle := func(c *net.TCPConn) {
		// The first byte says who resets.
		first := make([]byte, 1)
		if _, err := io.ReadFull(c, first); err != nil {
			t.Error(err)
		}
		c.Write(first)
		if first[0] == 's' {
			c.SetLinger(0)
			return
		}
		_, err := c.Read(first)
		fromServer <- err
	}
	serve(t, p.productpage, "10.4.3.20:9080", handle)
	serve(t, p.productpage, "10.9.9.9:80", handle)
	for _, to := range []string{"10.8.14.226:9080", "10.4.3.20:9080", "10.9.9.9:80"} {
		for _, who := range []string{"s", "c"} {
			c, err := p.sleep.dial(to)
			if err != nil {
				t.Fatal(err)
			}
			deadline(t, c)
			c.Write([]byte(who))
			got := make([]byte, 1)
			if _, err := io.ReadFull(c, got); err != nil {
				t.Fatal(err)
			}
			if who == "s" {
				_, err = c.Read(got)
			} else {
				c.SetLinger(0)
				c.Close()
				err = <-fromServer
			}
			if !errors.Is(err, syscall.ECONNRESET) {
				t.Errorf("%s, reset by %q: %v, want a reset", to, who, err)
			}
			c.Close()
		}
	}
	a.untilStat("listener.0.0.0.0_15001.downstream_cx_active", 0)
	b.untilStat("http.inbound_hcm.downstream_rq_active", 0)
}

func TestOneConnectionCarriesMany(t *testing.T) {
	p, a, b := both(t, true)
	serve(t, p.productpage, "10.4.3.20:9080", echo)
	var wg sync.WaitGroup
	for range 50 {
		wg.Go(func() {
			for range 4 {
				if got, err := ask(t, p.sleep, "10.8.14.226:9080", "x"); err != nil || got != "x" {
					t.Errorf("%q, %v", got, err)
				}
			}
		})
	}
	wg.Wait()
	b.untilStat("http.inbound_hcm.downstream_rq_total", 200)
	b.untilStat("http.inbound_hcm.downstream_cx_http2_total", 1)
	a.untilStat("cluster.outbound_tunnel_clus_spiffe://cluster.local/ns/default/sa/sleep.upstream_cx_total", 1)
	if n := strings.Count(b.log.String(), `alpn=h2 tls_version="TLS 1.3" peer_identity=spiffe://cluster.local/ns/default/sa/sleep`); n != 1 {
		t.Errorf("%d log lines show the peer", n)
	}
}

func TestBackPressure(t *testing.T) {
	p, _, _ := both(t, true)
	release := make(chan struct{})
	got := make(chan int64, 1)
	serve(t, p.productpage, "10.4.3.20:9080", func(c *net.TCPConn) {
		<-release
		n, _ := io.Copy(io.Discard, c)
		got <- n
	})
	c, err := p.sleep.dial("10.8.14.226:9080")
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	// Nobody reads: the writer must come to a halt long before all is written.
	const much = 256 << 20
	wrote := make(chan int64, 1)
	go func() {
		deadline(t, c)
		n, err := io.Copy(c, io.LimitReader(zeroes{}, much))
		if err != nil {
			t.Error(err)
		}
		c.CloseWrite()
		wrote <- n
	}()
	var last, same int64
	wait(t, "the writer stands still", func() bool {
		now := acknowledged(t, c)
		if now == last && now > 0 {
			same++
		} else {
			last, same = now, 0
		}
		return same > 20
	})
	if last > 64<<20 {
		t.Errorf("%d MiB are under way", last>>20)
	}
	close(release)
	if n := <-wrote; n != much {
		t.Errorf("wrote %d", n)
	}
	if n := <-got; n != much {
		t.Errorf("read %d", n)
	}
}

type zeroes struct{}

func (zeroes) Read(p []byte) (int, error) { return len(p), nil }
