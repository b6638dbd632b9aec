// SPDX-License-Identifier: Apache-2.0

package upstream

import (
	"context"
	"errors"
	"io"
	"net"
	"net/netip"
	"sync"
	"testing"
	"time"

	"google.golang.org/protobuf/types/known/structpb"

	"github.com/ambient22/ambient22/internal/hbone"
	"github.com/ambient22/ambient22/internal/proxy/config"
	"github.com/ambient22/ambient22/internal/proxy/netio"
	"github.com/ambient22/ambient22/internal/proxy/secret"
	"github.com/ambient22/ambient22/internal/proxy/stats"
)

func newManager(t *testing.T) (*Manager, *stats.Registry) {
	t.Helper()
	r := &stats.Registry{}
	store := secret.NewStore(func(*secret.Entry) func() { return func() {} })
	return NewManager(store, r), r
}

func addr(s string) netip.AddrPort { return netip.MustParseAddrPort(s) }

func TestOriginalDestination(t *testing.T) {
	header := func(v string) func(string) string {
		return func(name string) string {
			if name == config.DefaultOriginalDstHeader {
				return v
			}
			return ""
		}
	}
	for name, tc := range map[string]struct {
		cfg  config.Cluster
		req  Request
		want string
	}{
		"restored":           {config.Cluster{}, Request{OriginalDst: addr("10.0.0.1:80")}, "10.0.0.1:80"},
		"none":               {config.Cluster{}, Request{}, ""},
		"override":           {config.Cluster{}, Request{OriginalDst: addr("10.0.0.1:80"), Override: addr("10.0.0.2:15008")}, "10.0.0.2:15008"},
		"port":               {config.Cluster{PortOverride: 15008}, Request{OriginalDst: addr("10.0.0.1:80")}, "10.0.0.1:15008"},
		"port over override": {config.Cluster{PortOverride: 15088}, Request{Override: addr("10.0.0.1:80")}, "10.0.0.1:15088"},
		"header":             {config.Cluster{DstHeader: config.DefaultOriginalDstHeader}, Request{OriginalDst: addr("10.0.0.1:80"), Header: header("10.0.0.3:81")}, "10.0.0.3:81"},
		"header not used":    {config.Cluster{}, Request{OriginalDst: addr("10.0.0.1:80"), Header: header("10.0.0.3:81")}, "10.0.0.1:80"},
		"bad header":         {config.Cluster{DstHeader: config.DefaultOriginalDstHeader}, Request{OriginalDst: addr("10.0.0.1:80"), Header: header("pod.example:81")}, "10.0.0.1:80"},
		"IPv6 header":        {config.Cluster{DstHeader: config.DefaultOriginalDstHeader}, Request{OriginalDst: addr("10.0.0.1:80"), Header: header("[::1]:81")}, "10.0.0.1:80"},
		"header missing":     {config.Cluster{DstHeader: config.DefaultOriginalDstHeader}, Request{OriginalDst: addr("10.0.0.1:80"), Header: header("")}, "10.0.0.1:80"},
	} {
		t.Run(name, func(t *testing.T) {
			m, _ := newManager(t)
			tc.cfg.Name, tc.cfg.Type = "c", config.ToOriginDst
			h, ok := m.New(&tc.cfg).choose(&tc.req)
			if ok != (tc.want != "") || ok && h.String() != tc.want {
				t.Errorf("chose %v, %v; want %q", h, ok, tc.want)
			}
		})
	}
}

func TestRoundRobin(t *testing.T) {
	m, _ := newManager(t)
	c := m.New(&config.Cluster{Name: "c", Type: config.EDS})
	if _, ok := c.Hosts(); ok {
		t.Error("hosts are known before any came")
	}
	c.SetHosts([]config.Host{{Addr: addr("10.0.0.1:1")}, {Addr: addr("10.0.0.2:1")}, {Listener: "in", EndpointID: "x"}})
	var got []string
	for range 4 {
		h, _ := c.choose(&Request{})
		got = append(got, h.String())
	}
	want := []string{"10.0.0.1:1", "10.0.0.2:1", "envoy://in/x", "10.0.0.1:1"}
	for i := range want {
		if got[i] != want[i] {
			t.Fatalf("order %v, want %v", got, want)
		}
	}
}

func TestFailures(t *testing.T) {
	m, r := newManager(t)
	m.Put(m.New(&config.Cluster{Name: "empty"}))
	closed := listen(t)
	closed.Close()
	m.Put(m.New(&config.Cluster{Name: "refused", Hosts: []config.Host{{Addr: netio.AddrPort(closed.Addr())}}, ConnectTimeout: time.Second}))
	m.Put(m.New(&config.Cluster{Name: "plain", Type: config.ToOriginDst, ConnectTimeout: time.Second}))
	m.SetInternalDialer(func(string, string, map[string]*structpb.Struct) (netio.Conn, error) {
		return nil, errors.New("nobody there")
	})
	m.Put(m.New(&config.Cluster{Name: "internal", Hosts: []config.Host{{Listener: "in"}}}))
	for name, want := range map[string]Reason{"missing": NoCluster, "empty": NoHost, "refused": ConnectFailed, "internal": ConnectFailed} {
		_, err := m.Connect(context.Background(), name, &Request{})
		var f *Failure
		if !errors.As(err, &f) || f.Reason != want {
			t.Errorf("%s: %v, want %s", name, err, want.Flag())
		}
	}
	_, err := m.Connect(context.Background(), "plain", &Request{OriginalDst: addr("127.0.0.1:1"), Tunnel: &Tunnel{Authority: "x:1"}})
	if err == nil {
		t.Error("a tunnel over a cluster without HTTP/2 was opened")
	}
	if n := r.Counter("cluster.refused.upstream_cx_connect_fail").Get(); n != 1 {
		t.Errorf("connect_fail %d", n)
	}
}

func TestInternalConnectionTakesTheNamedMetadata(t *testing.T) {
	m, _ := newManager(t)
	var got map[string]*structpb.Struct
	m.SetInternalDialer(func(listener, id string, md map[string]*structpb.Struct) (netio.Conn, error) {
		got = md
		a, _ := netio.Pair()
		return a, nil
	})
	h := config.Host{Listener: "in", EndpointID: "x", Metadata: map[string]*structpb.Struct{"tunnel": {}, "other": {}}}
	c := m.New(&config.Cluster{Name: "c", Hosts: []config.Host{h}, Matches: []config.SocketMatch{{Socket: config.TransportSocket{Passthrough: []string{"tunnel", "istio"}}}}})
	s, err := c.Connect(context.Background(), &Request{})
	if err != nil {
		t.Fatal(err)
	}
	s.Close()
	if len(got) != 1 || got["tunnel"] == nil {
		t.Errorf("passed %v", got)
	}
}

func listen(t *testing.T) *net.TCPListener {
	t.Helper()
	l, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	return l.(*net.TCPListener)
}

// tunnelServer serves CONNECT over plain TCP and counts its connections.
type tunnelServer struct {
	addr netip.AddrPort
	mu   sync.Mutex
	n    int
}

func serveTunnels(t *testing.T, cfg hbone.Config, handle func(conn int, r *hbone.Request)) *tunnelServer {
	t.Helper()
	l := listen(t)
	s := &tunnelServer{addr: netio.AddrPort(l.Addr())}
	ctx, cancel := context.WithCancel(context.Background())
	t.Cleanup(cancel)
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			s.mu.Lock()
			s.n++
			n := s.n
			s.mu.Unlock()
			go hbone.Serve(ctx, c, cfg, func(_ context.Context, r *hbone.Request) { handle(n, r) })
		}
	}()
	return s
}

func (s *tunnelServer) connections() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.n
}

func hold(_ int, r *hbone.Request) {
	s, err := r.Accept(200, nil)
	if err == nil {
		io.Copy(io.Discard, s)
		s.CloseWrite()
	}
}

func tunnelCluster(t *testing.T, cfg config.Cluster) (*Cluster, *stats.Registry) {
	t.Helper()
	m, r := newManager(t)
	cfg.Name, cfg.Type, cfg.HTTP2, cfg.ConnectTimeout = "c", config.ToOriginDst, &config.HTTP2{MaxStreams: 10}, 5*time.Second
	return m.New(&cfg), r
}

func open(t *testing.T, c *Cluster, to netip.AddrPort) *Stream {
	t.Helper()
	s, err := c.Connect(context.Background(), &Request{OriginalDst: to, Tunnel: &Tunnel{Authority: "x:1"}})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestFullConnectionGetsASecond(t *testing.T) {
	srv := serveTunnels(t, hbone.Config{}, hold)
	c, _ := tunnelCluster(t, config.Cluster{CleanupInterval: time.Minute})
	streams := make(chan *Stream, 25)
	var wg sync.WaitGroup
	for range 25 {
		wg.Go(func() { streams <- open(t, c, srv.addr) })
	}
	wg.Wait()
	// At once they may open one more than needed, but never wait.
	if n := srv.connections(); n < 3 || n > 4 {
		t.Errorf("25 streams of 10 per connection took %d connections", n)
	}
	close(streams)
	for s := range streams {
		s.Close()
	}
}

// The peer admits far fewer streams than the cluster would send: whoever finds a
// connection full goes to another one and does not wait for a stream to end.
func TestBurstAtThePeersLimitNeverWaits(t *testing.T) {
	srv := serveTunnels(t, hbone.Config{MaxStreams: 3}, hold)
	c, _ := tunnelCluster(t, config.Cluster{CleanupInterval: time.Minute})
	streams := make(chan *Stream, 30)
	var wg sync.WaitGroup
	for range cap(streams) {
		wg.Go(func() {
			s, err := c.Connect(context.Background(), &Request{OriginalDst: srv.addr, Tunnel: &Tunnel{Authority: "x:1"}})
			if err != nil {
				t.Error(err)
				return
			}
			streams <- s
		})
	}
	wg.Wait()
	close(streams)
	if n := srv.connections(); n < 10 {
		t.Errorf("%d streams of 3 per connection took %d connections", len(streams), n)
	}
	for s := range streams {
		s.Close()
	}
}

// A connection that comes about when its cluster was replaced and nobody waits
// for it any more is closed like any unused one.
func TestConnectionForAPoolThatEndedIsSwept(t *testing.T) {
	srv := serveTunnels(t, hbone.Config{}, hold)
	c, _ := tunnelCluster(t, config.Cluster{CleanupInterval: time.Minute})
	w := &dialing{done: make(chan struct{})}
	c.pool.mu.Lock()
	d := c.pool.dest(srv.addr)
	d.dialing = w
	c.pool.mu.Unlock()
	c.pool.drain()
	c.pool.dial(context.Background(), srv.addr, d, w)
	if w.err != nil {
		t.Fatal(w.err)
	}
	c.pool.sweepOnce()
	c.pool.sweepOnce()
	select {
	case <-w.conn.client.Done():
	case <-time.After(5 * time.Second):
		t.Error("the connection is still open")
	}
}

func TestRefusedStreamIsTriedOnceOnAFreshConnection(t *testing.T) {
	var mu sync.Mutex
	asked := 0
	srv := serveTunnels(t, hbone.Config{MaxStreams: 1}, func(conn int, r *hbone.Request) {
		mu.Lock()
		asked++
		mu.Unlock()
		hold(conn, r)
	})
	c, _ := tunnelCluster(t, config.Cluster{CleanupInterval: time.Minute})
	first := open(t, c, srv.addr)
	defer first.Close()
	second := open(t, c, srv.addr) // refused there, or known to be full
	defer second.Close()
	mu.Lock()
	defer mu.Unlock()
	if asked != 2 || srv.connections() != 2 {
		t.Errorf("%d requests were served on %d connections", asked, srv.connections())
	}
}

func TestBrokenConnectionIsReplaced(t *testing.T) {
	srv := serveTunnels(t, hbone.Config{}, hold)
	c, _ := tunnelCluster(t, config.Cluster{CleanupInterval: time.Minute})
	s := open(t, c, srv.addr)
	c.pool.mu.Lock()
	client := c.pool.dests[srv.addr].conns[0].client
	c.pool.mu.Unlock()
	client.Close()
	s.Close()
	open(t, c, srv.addr).Close()
	if n := srv.connections(); n != 2 {
		t.Errorf("%d connections", n)
	}
}

func TestUnusedConnectionIsClosedAfterTheCleanupInterval(t *testing.T) {
	srv := serveTunnels(t, hbone.Config{}, hold)
	c, r := tunnelCluster(t, config.Cluster{CleanupInterval: time.Second})
	used := open(t, c, srv.addr)
	c.pool.sweepOnce()
	c.pool.sweepOnce()
	if n := r.Gauge("cluster.c.upstream_cx_active").Get(); n != 1 {
		t.Fatalf("%d connections while a stream is open", n)
	}
	used.Close()
	c.pool.mu.Lock()
	client := c.pool.dests[srv.addr].conns[0].client
	c.pool.mu.Unlock()
	c.pool.sweepOnce() // unused
	open(t, c, srv.addr).Close()
	c.pool.sweepOnce() // used in between
	c.pool.sweepOnce() // unused for a whole interval
	<-client.Done()
	if n := srv.connections(); n != 1 {
		t.Errorf("%d connections", n)
	}
}

func TestDrainedPoolEndsWithItsLastStream(t *testing.T) {
	srv := serveTunnels(t, hbone.Config{}, hold)
	c, _ := tunnelCluster(t, config.Cluster{CleanupInterval: time.Minute})
	s := open(t, c, srv.addr)
	c.pool.mu.Lock()
	client := c.pool.dests[srv.addr].conns[0].client
	c.pool.mu.Unlock()
	c.pool.drain()
	if _, err := s.Write([]byte("x")); err != nil {
		t.Error(err)
	}
	late := open(t, c, srv.addr) // somebody still held the cluster
	s.Close()
	<-client.Done()
	late.Close()
}

func TestPeerThatDoesNotAnswer(t *testing.T) {
	l := listen(t) // accepts, and never speaks TLS
	m, _ := newManager(t)
	c := m.New(&config.Cluster{Name: "c", Type: config.ToOriginDst, HTTP2: &config.HTTP2{}, ConnectTimeout: 100 * time.Millisecond,
		Socket: config.TransportSocket{TLS: &config.UpstreamTLS{ALPN: []string{"h2"}}}})
	_, err := c.Connect(context.Background(), &Request{OriginalDst: netio.AddrPort(l.Addr()), Tunnel: &Tunnel{Authority: "x:1"}})
	var f *Failure
	if !errors.As(err, &f) || f.Reason != ConnectFailed {
		t.Errorf("error %v", err)
	}
}
