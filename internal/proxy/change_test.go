// SPDX-License-Identifier: Apache-2.0

package proxy

import (
	"io"
	"net"
	"strings"
	"testing"

	listenerv3 "github.com/envoyproxy/go-control-plane/envoy/config/listener/v3"
	echov3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/network/echo/v3"
	tcpproxyv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/network/tcp_proxy/v3"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/anypb"
	"google.golang.org/protobuf/types/known/durationpb"

	"github.com/ambient22/ambient22/internal/proxy/proxytest"
)

const (
	sleepID     = "spiffe://cluster.local/ns/default/sa/sleep"
	tunnelTotal = "cluster.outbound_tunnel_clus_" + sleepID + ".upstream_cx_total"
)

// talk opens a connection and exchanges one byte, so that it is known to stand.
func talk(t *testing.T, ns *netns, addr string) *net.TCPConn {
	t.Helper()
	c, err := ns.dial(addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	deadline(t, c)
	say(t, c)
	return c
}

func say(t *testing.T, c *net.TCPConn) {
	t.Helper()
	if _, err := c.Write([]byte("x")); err != nil {
		t.Fatal(err)
	}
	if _, err := io.ReadFull(c, make([]byte, 1)); err != nil {
		t.Fatal(err)
	}
}

func (p *testProxy) listener(name string) *listenerv3.Listener {
	p.t.Helper()
	for _, l := range p.res.Listeners {
		if l.GetName() == name {
			return l
		}
	}
	p.t.Fatalf("no listener %s", name)
	return nil
}

func repack(t *testing.T, a *anypb.Any, change func(proto.Message)) {
	t.Helper()
	m, err := a.UnmarshalNew()
	if err != nil {
		t.Fatal(err)
	}
	change(m)
	if err := a.MarshalFrom(m); err != nil {
		t.Fatal(err)
	}
}

func TestRotationKeepsConnections(t *testing.T) {
	p, a, b := both(t, true)
	serve(t, p.productpage, "10.4.3.20:9080", echo)
	old := talk(t, p.sleep, "10.8.14.226:9080")
	a.untilStat(tunnelTotal, 1)
	// A new root as well: what is old must not be needed any more.
	ca, err := proxytest.NewCA()
	if err != nil {
		t.Fatal(err)
	}
	for _, z := range []*testProxy{a, b} {
		before := strings.Count(z.log.String(), "took secret")
		z.ca = ca
		z.issue()
		z.push()
		wait(t, "new secrets are taken", func() bool { return strings.Count(z.log.String(), "took secret") >= before+len(z.secrets) })
	}
	say(t, old)
	mustAsk(t, p.sleep, "10.8.14.226:9080", "on a new connection")
	a.untilStat(tunnelTotal, 2)
	say(t, old)
	old.CloseWrite()
	if _, err := io.ReadAll(old); err != nil {
		t.Errorf("ending the old connection: %v", err)
	}
	old.Close()
	// The old shared connection goes with its last stream.
	b.untilStat("http.inbound_hcm.downstream_cx_http2_active", 1)
}

func TestClientOfAnotherRootIsRefused(t *testing.T) {
	p, a, b := both(t, true)
	serve(t, p.productpage, "10.4.3.20:9080", echo)
	ca, err := proxytest.NewCA()
	if err != nil {
		t.Fatal(err)
	}
	before := strings.Count(a.log.String(), "took secret")
	a.ca = ca
	a.issue()
	a.push()
	wait(t, "new secrets are taken", func() bool { return strings.Count(a.log.String(), "took secret") >= before+len(a.secrets) })
	if _, err := ask(t, p.sleep, "10.8.14.226:9080", "x"); err == nil {
		t.Error("a client of a foreign CA got through")
	}
	// Where the server is the one who refuses, the client has sent its request
	// already, and tries a second connection because nobody acted upon the first.
	b.untilStatIs("listener.0.0.0.0_15008.ssl.connection_error", "at least 1", func(n int64) bool { return n >= 1 })
}

func TestChangedListenerKeepsItsConnections(t *testing.T) {
	p, a, _ := both(t, true)
	serve(t, p.productpage, "10.4.3.20:9080", echo)
	old := talk(t, p.sleep, "10.4.3.20:9080")
	for _, c := range a.listener("ztunnel_outbound").FilterChains {
		repack(t, c.Filters[0].GetTypedConfig(), func(m proto.Message) {
			m.(*tcpproxyv3.TcpProxy).ClusterSpecifier = &tcpproxyv3.TcpProxy_Cluster{Cluster: "BlackHoleCluster"}
		})
	}
	a.push()
	wait(t, "the new chains are used", func() bool {
		_, err := ask(t, p.sleep, "10.4.3.20:9080", "x")
		return err != nil
	})
	say(t, old)
	// Removed altogether, the listener still serves what it has.
	a.res.Listeners = a.res.Listeners[:2]
	a.push()
	wait(t, "the listener is gone", func() bool {
		return p.ztunnelA.exec("ss", "-Hltn", "sport = :15001") == ""
	})
	say(t, old)
}

func TestSocketOptionChangeReopensTheListener(t *testing.T) {
	p, a, _ := both(t, true)
	serve(t, p.productpage, "10.4.3.20:9080", echo)
	l := a.listener("ztunnel_outbound")
	l.SocketOptions = nil
	a.push()
	wait(t, "the listener is replaced", func() bool {
		return strings.Count(a.log.String(), "listener is active\" listener=ztunnel_outbound") == 2
	})
	mustAsk(t, p.sleep, "10.8.14.226:9080", "x")
}

func TestRefusedResourceKeepsTheOld(t *testing.T) {
	for name, delta := range map[string]bool{"incremental": true, "state of the world": false} {
		t.Run(name, func(t *testing.T) {
			p, a, _ := both(t, delta)
			serve(t, p.productpage, "10.4.3.20:9080", echo)
			good := proto.CloneOf(a.listener("ztunnel_outbound"))
			l := a.listener("ztunnel_outbound")
			echo, err := anypb.New(&echov3.Echo{})
			if err != nil {
				t.Fatal(err)
			}
			l.FilterChains[0].Filters = append([]*listenerv3.Filter{{Name: "echo", ConfigType: &listenerv3.Filter_TypedConfig{TypedConfig: echo}}}, l.FilterChains[0].Filters...)
			a.res.Clusters[0].ConnectTimeout = durationpb.New(3e9) // something good in the same push
			a.push()
			wait(t, "the refusal arrives", func() bool { n, _ := a.server.Nacks(); return len(n) > 0 })
			nacks, _ := a.server.Nacks()
			for _, want := range []string{"ztunnel_outbound", "filter_chains[0].filters[0].typed_config", "envoy.extensions.filters.network.echo.v3.Echo"} {
				if !strings.Contains(nacks[0].Message, want) {
					t.Errorf("refusal %q does not name %s", nacks[0].Message, want)
				}
			}
			mustAsk(t, p.sleep, "10.8.14.226:9080", "x")
			// What is good again is taken again.
			proto.Reset(l)
			proto.Merge(l, good)
			a.push()
			a.until("the listener is good again", func(s *status) bool { return s.Stats["listener_manager.lds.update_success"] >= 2 })
			mustAsk(t, p.sleep, "10.8.14.226:9080", "x")
		})
	}
}

func TestLostControlPlane(t *testing.T) {
	p, a, b := both(t, true)
	serve(t, p.productpage, "10.4.3.20:9080", echo)
	old := talk(t, p.sleep, "10.8.14.226:9080")
	a.server.Stop()
	b.server.Stop()
	a.untilStat("control_plane.connected_state", 0)
	say(t, old)
	mustAsk(t, p.sleep, "10.8.14.226:9080", "without a control plane")
	server, err := proxytest.Serve(a.socket)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(server.Stop)
	a.server = server
	a.push()
	a.untilStat("control_plane.connected_state", 1)
	say(t, old)
	mustAsk(t, p.sleep, "10.8.14.226:9080", "with a new one")
}

func TestMissingExtensionClosesConnections(t *testing.T) {
	ca, err := proxytest.NewCA()
	if err != nil {
		t.Fatal(err)
	}
	p := newPath(t)
	a := newProxy(t, "a", p.ztunnelA, ca, true)
	l := a.listener("ztunnel_outbound")
	l.ListenerFilters[2].GetConfigDiscovery().ConfigSource.InitialFetchTimeout = durationpb.New(5e8)
	extensions := a.res.Extensions
	a.res.Extensions = nil
	a.push()
	a.start() // ready only after the half second
	if !strings.Contains(a.log.String(), "going on without what was not delivered in time") {
		t.Error("the listener did not wait for its extension")
	}
	if got, _ := ask(t, p.sleep, "10.9.9.9:80", "x"); got != "" {
		t.Errorf("answered %q", got)
	}
	a.untilStat("listener.0.0.0.0_15001.extension_config_missing", 1)
	wait(t, "the connection is logged", func() bool {
		return strings.Contains(a.access.String(), "10.9.9.9:80 10.4.4.19:") && strings.Contains(a.access.String(), " outbound capture listener\n")
	})
	serve(t, p.productpage, "10.9.9.9:80", echo)
	a.res.Extensions = extensions
	a.push()
	wait(t, "the extension is there", func() bool {
		got, _ := ask(t, p.sleep, "10.9.9.9:80", "x")
		return got == "x"
	})
}

func TestListenerWaitsForItsSecrets(t *testing.T) {
	ca, err := proxytest.NewCA()
	if err != nil {
		t.Fatal(err)
	}
	p := newPath(t)
	b := newProxy(t, "b", p.ztunnelB, ca, true)
	roots := b.secrets["ROOTCA"]
	delete(b.secrets, "ROOTCA")
	b.push()
	b.launch()
	b.until("the other listeners stand", func(s *status) bool { return s.Stats["listener_manager.lds.update_success"] == 1 })
	b.until("it is not ready", func(s *status) bool { return !s.Ready })
	b.secrets["ROOTCA"] = roots
	b.push()
	b.until("it is ready", func(s *status) bool { return s.Ready })
}
