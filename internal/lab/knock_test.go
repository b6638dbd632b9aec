// SPDX-License-Identifier: Apache-2.0

package lab

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/ambient22/ambient22/internal/lab/netns"
	"github.com/ambient22/ambient22/internal/lab/topology"
)

// way is where connections are opened from and to, and how the data path takes them.
type way struct {
	name     string
	host     string
	url      string // of a new connection's request
	echo     string // of a connection that stays
	perSec   int
	captured bool
}

// rolloutWays pass node A's ztunnel in each direction it has, and past it.
func rolloutWays() []way {
	return []way{
		{"out through a tunnel", "sleep", "http://10.8.9.83:9080/", "10.4.3.15:7777", 60, true},
		{"out plainly, with the pod's address", "sleep", "http://10.4.3.30:8080/", "10.4.3.30:7777", 40, true},
		{"within the node", "sleep", "http://10.8.1.204:8000/", "10.4.4.11:7777", 40, true},
		{"in through a tunnel", "ratings", "http://10.8.1.204:8000/", "10.4.4.11:7777", 40, true},
		{"in plainly", "outside-b", "http://10.4.4.11:80/", "10.4.4.11:7777", 40, true},
		{"not captured", "outside-a", "http://10.4.3.30:8080/", "10.4.3.30:7777", 200, false},
	}
}

// tally is what came of new connections on one way.
type tally struct {
	ok, late, failed atomic.Int64
	longest          atomic.Int64 // nanoseconds
	mu               sync.Mutex
	errs             []string
}

func (y *tally) String() string {
	return fmt.Sprintf("%5d answered, %d of them after more than 0.9 s, longest %v; %d lost %s",
		y.ok.Load(), y.late.Load(), time.Duration(y.longest.Load()).Round(time.Millisecond), y.failed.Load(), strings.Join(y.errs, "; "))
}

// knock opens connections at an even rate until ctx ends, each for one request.
func knock(ctx context.Context, l *Lab, w way, y *tally) {
	client := &http.Client{Timeout: 15 * time.Second, Transport: &http.Transport{
		DisableKeepAlives: true,
		DialContext:       func(ctx context.Context, _, addr string) (net.Conn, error) { return l.dial(ctx, w.host, addr) },
	}}
	var calls sync.WaitGroup
	defer calls.Wait()
	tick := time.NewTicker(time.Second / time.Duration(w.perSec))
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		calls.Go(func() {
			start := time.Now()
			err := fetch(client, w.url)
			took := time.Since(start)
			if err != nil {
				y.failed.Add(1)
				y.mu.Lock()
				y.errs = append(y.errs, fmt.Sprintf("%s: %v", start.Format("05.000"), err))
				y.mu.Unlock()
				return
			}
			y.ok.Add(1)
			if took > 900*time.Millisecond {
				y.late.Add(1)
			}
			for is := y.longest.Load(); int64(took) > is && !y.longest.CompareAndSwap(is, int64(took)); is = y.longest.Load() {
			}
		})
	}
}

func fetch(client *http.Client, url string) error {
	resp, err := client.Get(url)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if _, err := io.Copy(io.Discard, resp.Body); err != nil {
		return err
	}
	if resp.StatusCode != http.StatusOK {
		return errors.New(resp.Status)
	}
	return nil
}

// echoes answers in a host with what it gets.
func echoes(t *testing.T, l *Lab, host string) {
	t.Helper()
	var listener net.Listener
	err := netns.Do(l.Net.Namespace(host), func() (err error) {
		listener, err = net.Listen("tcp4", ":7777")
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { listener.Close() })
	go func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			go func() {
				defer conn.Close()
				_, _ = io.Copy(conn, conn)
			}()
		}
	}()
}

// stay is a connection that is kept, and used now and then.
type stay struct {
	way  string
	conn net.Conn
	dead error
}

func (s *stay) ping() error {
	if s.dead != nil {
		return s.dead
	}
	text := []byte("still there?")
	_ = s.conn.SetDeadline(time.Now().Add(3 * time.Second))
	_, err := s.conn.Write(text)
	if err == nil {
		_, err = io.ReadFull(s.conn, text)
	}
	s.dead = err
	return err
}

func keep(t *testing.T, l *Lab, w way) *stay {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 15*time.Second)
	defer cancel()
	conn, err := l.dial(ctx, w.host, w.echo)
	if err != nil {
		t.Fatalf("%s: %v", w.name, err)
	}
	t.Cleanup(func() { conn.Close() })
	s := &stay{way: w.name, conn: conn}
	if err := s.ping(); err != nil {
		t.Fatalf("%s: %v", w.name, err)
	}
	return s
}

// addZtunnel is another ztunnel of node A, the n-th.
func addZtunnel(t *testing.T, l *Lab, n int) topology.Pod {
	t.Helper()
	pod := topology.Pod{
		Host: fmt.Sprintf("ztunnel-a%d", n), Node: "node-a", Address: netip.AddrFrom4([4]byte{10, 4, 4, byte(100 + n)}),
		Veth: fmt.Sprintf("vethz%d", n), Namespace: "istio-system", Pod: fmt.Sprintf("ztunnel-new%d", n),
	}
	if err := l.Net.AddPod(t.Context(), pod); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := l.Net.RemovePod(context.Background(), pod.Host); err != nil {
			t.Error(err)
		}
	})
	node, _ := l.Net.Topology.Node("node-a")
	if err := l.startZtunnelPod(t.Context(), &pod, node); err != nil {
		t.Fatal(err)
	}
	return pod
}

// setZtunnels writes the pods of node A's ztunnels: those named are there, and ready
// or not. The later one is the newer.
func setZtunnels(t *testing.T, l *Lab, pods []topology.Pod, ready map[string]bool) {
	t.Helper()
	first, rest, _ := strings.Cut(ztunnelManifest(t, l), "\n---\n")
	first = strings.ReplaceAll(first, `status: "False"`, `status: "True"`)
	var docs []string
	for i, p := range pods {
		doc := strings.NewReplacer("ztunnel-rts54", p.Pod, "10.4.4.18", p.Address.String(),
			"a1111111-0000-4000-8000-000000000002", fmt.Sprintf("a1111111-0000-4000-8000-%012d", 900+i),
			"2022-11-08T06:30:05Z", fmt.Sprintf("2022-11-08T07:30:%02dZ", i)).Replace(first)
		if !ready[p.Host] {
			doc = strings.Replace(doc, `status: "True"`, `status: "False"`, 1)
		}
		docs = append(docs, doc)
	}
	replace(t, filepath.Join(l.Manifests(), "ztunnel.yaml"), strings.Join(append(docs, rest), "\n---\n"))
}

// ztunnelManifest is the lab's own.
func ztunnelManifest(t *testing.T, l *Lab) string {
	t.Helper()
	file, err := l.folder.Open("manifests/ztunnel.yaml")
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	text, err := io.ReadAll(file)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// activeIs tells whether both tunnels of node A lead to a ztunnel.
func activeIs(t *testing.T, l *Lab, p topology.Pod) error {
	t.Helper()
	for _, device := range []string{"istioin", "istioout"} {
		if err := want(output(t, l, "node-a", "ip", "-d", "link", "show", device), "remote "+p.Address.String()+" "); err != nil {
			return err
		}
	}
	return nil
}
