// SPDX-License-Identifier: Apache-2.0

package proxy

import (
	"io"
	"testing"

	"github.com/ambient22/ambient22/internal/proxy/proxytest"
)

// both starts the article's two ztunnels on a path.
func both(t testing.TB, delta bool) (*path, *testProxy, *testProxy) {
	t.Helper()
	ca, err := proxytest.NewCA()
	if err != nil {
		t.Fatal(err)
	}
	p := newPath(t)
	a, b := newProxy(t, "a", p.ztunnelA, ca, delta), newProxy(t, "b", p.ztunnelB, ca, delta)
	b.start()
	a.start()
	return p, a, b
}

func TestServicePath(t *testing.T) {
	for name, delta := range map[string]bool{"incremental": true, "state of the world": false} {
		t.Run(name, func(t *testing.T) {
			p, a, b := both(t, delta)
			l := p.productpage.listen("10.4.3.20:9080")
			answers := make(chan string, 1)
			go func() {
				c, err := l.AcceptTCP()
				if err != nil {
					return
				}
				defer c.Close()
				deadline(t, c)
				question, err := io.ReadAll(c)
				if err != nil {
					t.Error(err)
				}
				c.Write([]byte("answer to " + string(question)))
				answers <- peerOf(c).String()
			}()
			c, err := p.sleep.dial("10.8.14.226:9080")
			if err != nil {
				t.Fatal(err)
			}
			defer c.Close()
			deadline(t, c)
			c.Write([]byte("question"))
			c.CloseWrite()
			got, err := io.ReadAll(c)
			if err != nil || string(got) != "answer to question" {
				t.Fatalf("read %q, %v", got, err)
			}
			// The inbound ztunnel speaks with the address of its HBONE peer.
			if peer := <-answers; peer != "10.4.4.18" {
				t.Errorf("productpage saw %s", peer)
			}
			a.untilStat("listener.0.0.0.0_15001.downstream_cx_active", 0)
			b.untilStat("http.inbound_hcm.downstream_rq_active", 0)
		})
	}
}
