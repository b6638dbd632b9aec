// SPDX-License-Identifier: Apache-2.0

package xds

import (
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	endpointv3 "github.com/envoyproxy/go-control-plane/envoy/config/endpoint/v3"
	tlsv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/transport_sockets/tls/v3"
	discoveryv3 "github.com/envoyproxy/go-control-plane/envoy/service/discovery/v3"
	"google.golang.org/protobuf/proto"
)

// nameOf is a message's own name.
func nameOf(k kind, m proto.Message) string {
	if s, ok := m.(*tlsv3.Secret); ok {
		return s.Name
	}
	name, _ := ownName(k, m)
	return name
}

func TestSotwServesWhatIsAskedFor(t *testing.T) {
	s, w := start(t), newWorld(t)
	w.set(s.Server)
	c := s.sotw()
	c.send(ask(clusters))
	first := wantSotw(c, "cluster alpha beta")
	c.send(ask(endpoints, "beta"))
	a := wantSotw(c, "endpoint beta", "beta")
	got := &endpointv3.ClusterLoadAssignment{}
	if err := a.Resources[0].UnmarshalTo(got); err != nil {
		t.Fatal(err)
	}
	if want := assignment("beta", "10.4.3.21"); !proto.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
	c.send(ask(listeners))
	wantSotw(c, "listener ztunnel_inbound ztunnel_outbound")
	c.send(ask(extensions, "workload_metadata"))
	wantSotw(c, "extension workload_metadata", "workload_metadata")
	if first.VersionInfo == "" || first.Nonce == "" || first.VersionInfo == a.VersionInfo {
		t.Errorf("versions %q and %q, nonce %q", first.VersionInfo, a.VersionInfo, first.Nonce)
	}
}

func TestSotwWaitsForTheFirstSet(t *testing.T) {
	s, w := start(t), newWorld(t)
	c := s.sotw()
	c.send(ask(clusters))
	eventually(t, "the proxy is known", func() bool { return len(s.Status()) == 1 && s.Status()[0].Node == proxyID })
	c.quiet()
	w.set(s.Server)
	wantSotw(c, "cluster alpha beta")
}

func TestSotwAnswersAnEmptyType(t *testing.T) {
	s, w := start(t), newWorld(t)
	w.listeners = nil
	w.set(s.Server)
	c := s.sotw()
	c.send(ask(listeners))
	wantSotw(c, "listener")
}

func TestSotwSendsOnlyTypesThatChanged(t *testing.T) {
	s, w := start(t), newWorld(t)
	w.set(s.Server)
	c := s.sotw()
	c.send(ask(clusters))
	before := wantSotw(c, "cluster alpha beta")
	c.send(ask(endpoints, "alpha", "beta"))
	wantSotw(c, "endpoint alpha beta", "alpha", "beta")
	c.send(ask(listeners))
	wantSotw(c, "listener ztunnel_inbound ztunnel_outbound")

	w.addresses["alpha"] = "10.4.3.22"
	w.set(s.Server)
	wantSotw(c, "endpoint alpha", "alpha", "beta") // of endpoints only the changed one
	w.set(s.Server)                                // nothing new
	w.clusters["alpha"] = 2 * time.Second
	w.set(s.Server)
	after := wantSotw(c, "cluster alpha beta")
	if after.VersionInfo == before.VersionInfo {
		t.Error("another content has the same version")
	}
	w.clusters["alpha"] = time.Second
	w.set(s.Server)
	if again := wantSotw(c, "cluster alpha beta"); again.VersionInfo != before.VersionInfo {
		t.Error("the same content has another version")
	}
	c.quiet()
}

func TestSotwEndpointSubscriptionGrowsAndShrinks(t *testing.T) {
	s, w := start(t), newWorld(t)
	w.set(s.Server)
	c := s.sotw()
	c.send(ask(endpoints, "alpha"))
	first := wantSotw(c, "endpoint alpha", "alpha")
	c.send(ack(first, "alpha", "beta"))
	second := wantSotw(c, "endpoint beta", "alpha", "beta")
	c.send(ack(second, "beta"))
	c.send(ask(extensions, "workload_metadata")) // answered after that has been taken in
	wantSotw(c, "extension workload_metadata", "workload_metadata")
	w.addresses["alpha"], w.addresses["beta"] = "10.4.3.30", "10.4.3.31"
	w.set(s.Server)
	third := wantSotw(c, "endpoint beta", "beta")
	c.send(ack(third, "alpha", "beta")) // anew: sent although the server sent it once
	wantSotw(c, "endpoint alpha", "alpha", "beta")
	// Wanting none is not wanting all.
	c.send(ack(third))
	c.send(ask(endpoints))
	c.send(ask(listeners))
	wantSotw(c, "listener ztunnel_inbound ztunnel_outbound")
	c.quiet()
}

func TestSotwIgnoresNamesOfStaleAnswers(t *testing.T) {
	s, w := start(t), newWorld(t)
	w.set(s.Server)
	c := s.sotw()
	c.send(ask(endpoints, "alpha"))
	first := c.next()
	c.send(&discoveryv3.DiscoveryRequest{TypeUrl: first.TypeUrl, ResponseNonce: first.Nonce, ResourceNames: []string{"alpha", "beta"}})
	second := c.next()
	if got := describe(t, second); got != "endpoint beta" {
		t.Fatalf("got %q", got)
	}
	c.send(ack(first, "alpha")) // late: must not end the subscription to beta
	c.send(ack(second, "alpha", "beta"))
	w.addresses["beta"] = "10.4.3.40"
	w.set(s.Server)
	wantSotw(c, "endpoint beta", "alpha", "beta")
}

// TestSotwCutsLargeEndpointAnswers: unlike clusters, endpoints may come in parts.
func TestSotwCutsLargeEndpointAnswers(t *testing.T) {
	s := start(t, func(s *Server) { s.sotwBytes = 10_000 })
	w := many(t, 500)
	w.set(s.Server)
	c := s.sotw()
	c.send(ask(clusters))
	if a := c.next(); len(a.Resources) != len(w.clusters) {
		t.Fatalf("%d clusters in the first response", len(a.Resources))
	}
	names := slices.Sorted(maps.Keys(w.clusters))
	c.send(ask(endpoints, names...))
	var got []string
	for len(got) < len(names) {
		a := c.next()
		if size := proto.Size(a); size > 11_000 {
			t.Errorf("a message of %d bytes", size)
		}
		got = append(got, strings.Fields(describe(t, a))[1:]...)
		c.send(ack(a, names...))
	}
	if !slices.Equal(got, names) {
		t.Error("not each cluster's endpoints came once")
	}
	c.quiet()
	w.addresses["alpha"] = "10.4.3.140"
	w.set(s.Server)
	wantSotw(c, "endpoint alpha", names...)
}

// TestSotwReconnect: a version the proxy brings along proves nothing. It keeps it
// when it takes a part of the next and refuses the rest.
func TestSotwReconnect(t *testing.T) {
	s, w := start(t), newWorld(t)
	w.set(s.Server)
	c := s.sotw()
	c.send(ask(clusters))
	version := wantSotw(c, "cluster alpha beta").VersionInfo
	c.close()

	c = s.sotw()
	again := ask(clusters)
	again.VersionInfo = version
	c.send(again)
	if a := wantSotw(c, "cluster alpha beta"); a.VersionInfo != version {
		t.Errorf("version %s, before %s", a.VersionInfo, version)
	}
}

func TestSotwMakeBeforeBreak(t *testing.T) {
	s, w := start(t), newWorld(t)
	w.set(s.Server)
	c := s.sotw()
	c.send(ask(clusters))
	wantSotw(c, "cluster alpha beta")
	c.send(ask(endpoints, "alpha", "beta"))
	eds := wantSotw(c, "endpoint alpha beta", "alpha", "beta")
	c.send(ask(listeners))
	wantSotw(c, "listener ztunnel_inbound ztunnel_outbound")

	// Everything that used beta uses gamma now.
	w.removeCluster("beta")
	w.addCluster("gamma")
	w.listeners["ztunnel_outbound"] = "gamma"
	w.set(s.Server)
	a := c.next()
	if got := describe(t, a); got != "cluster alpha beta gamma" {
		t.Fatalf("got %q", got)
	}
	// As Envoy does: it asks for the new endpoints before it acknowledges.
	c.send(ack(eds, "alpha", "beta", "gamma"))
	wantEDS := c.next()
	if got := describe(t, wantEDS); got != "endpoint gamma" {
		t.Fatalf("got %q", got)
	}
	c.send(ack(a))
	c.quiet() // the listeners wait for the endpoints to be taken in
	c.send(ack(wantEDS, "alpha", "beta", "gamma"))
	wantSotw(c, "listener ztunnel_inbound ztunnel_outbound")
	wantSotw(c, "cluster alpha gamma")
	w.addresses["alpha"] = "10.4.3.50"
	w.set(s.Server)
	wantSotw(c, "endpoint alpha", "alpha", "gamma")
	c.quiet()
}
