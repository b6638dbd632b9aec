// SPDX-License-Identifier: Apache-2.0

package lab

import (
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"net/netip"
	"strings"
	"sync"
	"testing"

	"golang.org/x/net/http2/hpack"

	"github.com/ambient22/ambient22/internal/hbone"
	"github.com/ambient22/ambient22/internal/lab/netns"
)

// request is one tunnel that somebody asked for.
type request struct {
	caller, authority, target, baggage string
}

// tunnelEnd is a small HBONE server in a host of the lab: a waypoint, or a pod that
// ends tunnels itself.
type tunnelEnd struct {
	t        *testing.T
	forward  func(context.Context) (io.ReadWriteCloser, error)
	requests chan request
}

// serveTunnels starts one. forward connects to where the tunnels lead.
func serveTunnels(t *testing.T, l *Lab, host, addr, identity string, forward func(context.Context) (io.ReadWriteCloser, error)) *tunnelEnd {
	t.Helper()
	config, err := l.credentials(identity)
	if err != nil {
		t.Fatal(err)
	}
	var listener net.Listener
	if err := netns.Do(l.Net.Namespace(host), func() (err error) {
		listener, err = net.Listen("tcp4", addr)
		return err
	}); err != nil {
		t.Fatal(err)
	}
	e := &tunnelEnd{t: t, forward: forward, requests: make(chan request, 100)}
	ctx, stop := context.WithCancel(t.Context())
	var running sync.WaitGroup
	running.Go(func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			running.Go(func() { e.serve(ctx, tls.Server(conn, config)) })
		}
	})
	t.Cleanup(func() {
		stop()
		listener.Close()
		running.Wait()
	})
	return e
}

func (e *tunnelEnd) serve(ctx context.Context, conn *tls.Conn) {
	defer conn.Close()
	if err := conn.HandshakeContext(ctx); err != nil {
		e.t.Logf("a handshake failed: %v", err)
		return
	}
	caller := conn.ConnectionState().PeerCertificates[0].URIs[0].String()
	err := hbone.Serve(ctx, conn, hbone.Config{DrainTimeout: 1}, func(ctx context.Context, r *hbone.Request) {
		e.requests <- request{caller, r.Authority, r.Get(targetHeader), r.Get("baggage")}
		up, err := e.forward(ctx)
		if err != nil {
			e.t.Logf("forwarding: %v", err)
			_ = r.Reject(503, nil)
			return
		}
		defer up.Close()
		if down, err := r.Accept(200, nil); err == nil {
			go func() { _, _ = io.Copy(up, down) }()
			_, _ = io.Copy(down, up)
			_ = down.CloseWrite()
		}
	})
	if err != nil {
		e.t.Logf("a tunnel's connection ended: %v", err)
	}
}

// next is the next request; only one may have come.
func (e *tunnelEnd) next() request {
	e.t.Helper()
	var r request
	select {
	case r = <-e.requests:
	default:
		e.t.Fatal("nobody asked for a tunnel")
	}
	if len(e.requests) > 0 {
		e.t.Fatalf("somebody else asked, too: %+v", <-e.requests)
	}
	return r
}

// insideTunnel is a stream with the connection that it ends.
type insideTunnel struct {
	*hbone.Stream
	client *hbone.Client
}

func (i insideTunnel) Close() error {
	i.Stream.Close()
	i.client.Close()
	return nil
}

// waypointPod is a waypoint of productpage's service account.
const waypointPod = `apiVersion: v1
kind: Pod
metadata:
  name: bookinfo-productpage-waypoint
  namespace: default
  uid: a1111111-0000-4000-8000-000000000030
  creationTimestamp: "2022-11-08T06:40:00Z"
  labels: {ambient-type: waypoint}
spec:
  serviceAccountName: bookinfo-productpage
  nodeName: gke-jimmy-cluster-default-pool-d5041909-c1da
  containers: [{name: istio-proxy, image: istio/proxyv2}]
status:
  phase: Running
  podIP: 10.4.3.30
  conditions: [{type: Ready, status: "True"}]
`

const productpageIdentity = "spiffe://cluster.local/ns/default/sa/bookinfo-productpage"

// Calls of a service account that has a waypoint go to it, and nobody gets past it.
func TestWaypoint(t *testing.T) {
	inEveryForm(t, func(t *testing.T, l *Lab) {
		s, err := l.scene()
		if err != nil {
			t.Fatal(err)
		}
		const host = "outside-b" // in no manifest so far, and not captured
		productpage := netip.AddrPortFrom(s.server.Address, s.server.Serve).String()
		waypoint := serveTunnels(t, l, host, "10.4.3.30:15006", productpageIdentity, func(ctx context.Context) (io.ReadWriteCloser, error) {
			return l.tunnelFrom(ctx, host, productpageIdentity, productpage)
		})
		if _, err := s.apply(t.Context(), "waypoint.yaml", waypointPod, `"waypoint"`); err != nil {
			t.Fatal(err)
		}
		eventually(t, "calls go to the waypoint", func() error { return want(served(t, l), "_to_server_waypoint_proxy_") })

		for _, to := range []string{"10.8.14.226:9080", productpage} {
			call, err := l.Call(t.Context(), callerHost, "http://"+to+"/")
			if err != nil || call.Status != 200 || call.Remote != to {
				t.Fatalf("a call to %s: %+v, %v", to, call, err)
			}
			if peer := netip.MustParseAddrPort(call.Peer); peer.Addr().String() != "10.4.3.30" {
				t.Errorf("productpage saw %s, not its waypoint", peer)
			}
			r := waypoint.next()
			baggage := "k8s.cluster.name=Kubernetes,k8s.namespace.name=default,k8s.deployment.name=sleep,"
			if l.Dialect == "upstream" {
				baggage = "" // that proxy has nothing that could tell
			}
			if r.caller != callerIdentity || r.authority != to || r.target != to || !strings.HasPrefix(r.baggage, baggage) || baggage == "" && r.baggage != "" {
				t.Errorf("for %s the waypoint was asked %+v", to, r)
			}
		}
		if err := contains(l.Net.LogFile(s.zA.Host, ztunnelDaemon), callerIdentity+"_to_server_waypoint_proxy_"+productpageIdentity, "(to server waypoint proxy)"); err != nil {
			t.Error(err)
		}
		// Who may call is the waypoint's affair now, and nobody else gets in.
		if call, err := l.Call(t.Context(), strangerHost, callURL); err != nil || call.Status != 200 {
			t.Errorf("%s through the waypoint: %+v, %v", strangerHost, call, err)
		}
		if r := waypoint.next(); r.caller != "spiffe://cluster.local/ns/default/sa/notsleep" {
			t.Errorf("the waypoint was asked %+v", r)
		}
		if status, err := l.Connect(t.Context(), outsideHost, callerIdentity, s.server.Address, netip.MustParseAddrPort(productpage)); err == nil {
			t.Errorf("past the waypoint: status %d", status)
		}
	})
}

// tunnelFrom is a tunnel to a pod's own address.
func (l *Lab) tunnelFrom(ctx context.Context, host, identity, target string) (io.ReadWriteCloser, error) {
	client, err := l.tunnels(ctx, host, identity, netip.MustParseAddrPort(target).Addr())
	if err != nil {
		return nil, err
	}
	stream, err := client.Connect(ctx, target, []hpack.HeaderField{{Name: targetHeader, Value: target}})
	if err != nil {
		client.Close()
		return nil, err
	}
	return insideTunnel{stream, client}, nil
}

// A pod that ends tunnels itself gets them from other nodes and from its own.
func TestPodThatEndsTunnelsItself(t *testing.T) {
	inEveryForm(t, func(t *testing.T, l *Lab) {
		s, err := l.scene()
		if err != nil {
			t.Fatal(err)
		}
		const pod, identity = "10.4.3.15:9080", "spiffe://cluster.local/ns/default/sa/bookinfo-details"
		details := serveTunnels(t, l, otherHost, "10.4.3.15:15008", identity, func(ctx context.Context) (io.ReadWriteCloser, error) {
			return l.dial(ctx, otherHost, pod)
		})
		labelled := strings.Replace(readManifest(t, l, "bookinfo.yaml"), "    app: details\n    version: v1\n",
			"    app: details\n    version: v1\n    networking.istio.io/tunnel: h2\n", 1)
		if _, err := s.apply(t.Context(), "bookinfo.yaml", labelled, "virtual_inbound_hbone"); err != nil {
			t.Fatal(err)
		}
		for _, c := range []struct{ from, caller, url string }{
			{callerHost, callerIdentity, "http://details:9080/"},
			{callerHost, callerIdentity, "http://" + pod + "/"},
			{serverHost, productpageIdentity, "http://details:9080/"},
			{serverHost, productpageIdentity, "http://" + pod + "/"},
		} {
			// The ztunnels take the label over one after the other.
			eventually(t, fmt.Sprintf("%s calls %s through the pod's own end", c.from, c.url), func() error {
				call, err := l.Call(t.Context(), c.from, c.url)
				if err != nil {
					return err
				}
				if call.Status != 200 || len(details.requests) == 0 {
					return fmt.Errorf("status %d, %d tunnels", call.Status, len(details.requests))
				}
				return nil
			})
			if r := details.next(); r.caller != c.caller || r.authority != pod || r.target != pod {
				t.Errorf("%s called %s, and the pod was asked %+v", c.from, c.url, r)
			}
		}
	})
}
