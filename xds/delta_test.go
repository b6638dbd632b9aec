// SPDX-License-Identifier: Apache-2.0

package xds

import (
	"maps"
	"testing"
	"time"

	clusterv3 "github.com/envoyproxy/go-control-plane/envoy/config/cluster/v3"
	"google.golang.org/protobuf/proto"
)

// subscribeAll takes a delta client through what Envoy does at its start.
func subscribeAll(c *deltaClient) {
	c.t.Helper()
	c.send(subscribe(clusters))
	wantDelta(c, "cluster alpha beta")
	c.send(subscribe(endpoints, "alpha", "beta"))
	wantDelta(c, "endpoint alpha beta")
	c.send(subscribe(listeners))
	wantDelta(c, "listener ztunnel_inbound ztunnel_outbound")
	c.send(subscribe(extensions, "workload_metadata"))
	wantDelta(c, "extension workload_metadata")
}

func TestDeltaServesWhatIsAskedFor(t *testing.T) {
	s, w := start(t), newWorld(t)
	w.set(s.Server)
	c := s.delta()
	c.send(subscribe(clusters))
	a := wantDelta(c, "cluster alpha beta")
	served := w.resources().Clusters
	for i, r := range a.Resources {
		got := &clusterv3.Cluster{}
		if err := r.Resource.UnmarshalTo(got); err != nil {
			t.Fatal(err)
		}
		want, err := served[i].Message()
		if err != nil {
			t.Fatal(err)
		}
		if !proto.Equal(got, want) || r.Version != served[i].Version {
			t.Errorf("%s is served as %v, version %s", served[i].Name, got, r.Version)
		}
	}
}

func TestDeltaSendsOnlyWhatChanged(t *testing.T) {
	s, w := start(t), newWorld(t)
	w.set(s.Server)
	c := s.delta()
	subscribeAll(c)

	w.addresses["beta"] = "10.4.3.60"
	w.set(s.Server)
	wantDelta(c, "endpoint beta")
	w.listeners["ztunnel_inbound"] = "beta"
	w.set(s.Server)
	wantDelta(c, "listener ztunnel_inbound")
	w.extension = "second"
	w.set(s.Server)
	wantDelta(c, "extension workload_metadata")
	w.set(s.Server) // nothing new
	if got := s.metric("sets_total", setUnchanged); got != 1 {
		t.Errorf("%v sets found unchanged, want 1", got)
	}
	w.clusters["alpha"] = time.Minute
	w.set(s.Server)
	wantDelta(c, "cluster alpha")
	c.quiet()
}

func TestDeltaNamesAndWildcard(t *testing.T) {
	s, w := start(t), newWorld(t)
	w.set(s.Server)
	c := s.delta()
	c.send(subscribe(clusters, "alpha"))
	wantDelta(c, "cluster alpha")
	c.send(subscribe(clusters, "gamma")) // not there yet: say so, and remember
	wantDelta(c, "cluster -gamma")
	w.addCluster("gamma")
	w.clusters["beta"] = time.Minute
	w.set(s.Server)
	wantDelta(c, "cluster gamma")
	c.send(subscribe(clusters, "*"))
	wantDelta(c, "cluster beta")
	c.send(subscribe(clusters, "alpha")) // asked for again: sent again
	wantDelta(c, "cluster alpha")

	leave := subscribe(clusters)
	leave.ResourceNamesUnsubscribe = []string{"*", "gamma"}
	c.send(leave)
	c.send(subscribe(endpoints, "alpha"))
	wantDelta(c, "endpoint alpha")
	w.clusters["alpha"], w.clusters["beta"], w.clusters["gamma"] = time.Hour, time.Hour, time.Hour
	w.set(s.Server)
	wantDelta(c, "cluster alpha")
	c.quiet()
}

func TestDeltaUnsubscribe(t *testing.T) {
	s, w := start(t), newWorld(t)
	w.set(s.Server)
	c := s.delta()
	c.send(subscribe(endpoints, "alpha", "beta"))
	wantDelta(c, "endpoint alpha beta")
	leave := subscribe(endpoints)
	leave.ResourceNamesUnsubscribe = []string{"alpha"}
	c.send(leave)
	c.send(subscribe(extensions, "workload_metadata"))
	wantDelta(c, "extension workload_metadata")
	w.addresses["alpha"], w.addresses["beta"] = "10.4.3.70", "10.4.3.71"
	w.set(s.Server)
	wantDelta(c, "endpoint beta")
	c.quiet()
}

func TestDeltaEmptyTypeIsAnswered(t *testing.T) {
	s, w := start(t), newWorld(t)
	w.listeners = nil
	w.set(s.Server)
	c := s.delta()
	c.send(subscribe(listeners))
	wantDelta(c, "listener")
	w.listeners = map[string]string{"late": "alpha"}
	w.set(s.Server)
	wantDelta(c, "listener late")
}

func TestDeltaReconnect(t *testing.T) {
	s, w := start(t), newWorld(t)
	w.set(s.Server)
	c := s.delta()
	c.send(subscribe(clusters))
	had := versions(wantDelta(c, "cluster alpha beta"))
	c.send(subscribe(endpoints, "alpha", "beta"))
	hadEndpoints := versions(wantDelta(c, "endpoint alpha beta"))
	c.close()

	// Nothing changed: nothing is sent, also not by a controller that was
	// started anew.
	other := start(t)
	w.set(other.Server)
	for _, server := range []*running{s, other} {
		c = server.delta()
		again := subscribe(clusters)
		again.InitialResourceVersions = maps.Clone(had)
		c.send(again)
		again = subscribe(endpoints, "alpha", "beta")
		again.InitialResourceVersions = maps.Clone(hadEndpoints)
		c.send(again)
		c.send(subscribe(extensions, "workload_metadata"))
		wantDelta(c, "extension workload_metadata")
		c.close()
	}

	// One changed, one is gone, one is new while it was away.
	w.removeCluster("beta")
	w.listeners["ztunnel_outbound"] = "alpha"
	w.addCluster("gamma")
	w.addresses["alpha"] = "10.4.3.80"
	w.set(s.Server)
	c = s.delta()
	again := subscribe(clusters)
	again.InitialResourceVersions = had
	c.send(again)
	wantDelta(c, "cluster gamma")
	wantDelta(c, "cluster -beta") // when the proxy has taken in what is new
	again = subscribe(endpoints, "alpha", "beta")
	again.InitialResourceVersions = hadEndpoints
	c.send(again)
	wantDelta(c, "endpoint alpha")
	wantDelta(c, "endpoint -beta")
}

func TestDeltaMakeBeforeBreak(t *testing.T) {
	s, w := start(t), newWorld(t)
	w.set(s.Server)
	c := s.delta()
	subscribeAll(c)

	w.removeCluster("beta")
	w.addCluster("gamma")
	w.internal["outbound_tunnel_lis"] = "gamma"
	w.addresses["alpha"] = "10.4.3.90"
	w.listeners["ztunnel_outbound"] = "gamma"
	delete(w.listeners, "ztunnel_inbound")
	w.set(s.Server)

	a := c.next()
	if got := describeDelta(a); got != "cluster gamma" {
		t.Fatalf("got %q", got)
	}
	// Answering a subscription doesn't wait for the rest of the change, and the
	// rest waits until the proxy has it.
	c.send(subscribe(endpoints, "gamma"))
	eds := c.next()
	if got := describeDelta(eds); got != "endpoint gamma" {
		t.Fatalf("got %q", got)
	}
	c.send(deltaAck(a))
	c.quiet()
	c.send(deltaAck(eds))
	wantDelta(c, "listener outbound_tunnel_lis")
	wantDelta(c, "endpoint alpha")
	wantDelta(c, "listener ztunnel_outbound -ztunnel_inbound")
	wantDelta(c, "endpoint -beta")
	wantDelta(c, "cluster -beta")
	c.quiet()
}

func TestDeltaPushesToWhoNeverAcknowledges(t *testing.T) {
	s, w := start(t, func(s *Server) { s.ackWait = time.Millisecond }), newWorld(t)
	w.set(s.Server)
	c := s.delta()
	c.send(subscribe(clusters))
	for i := range 3 * maxUnanswered {
		c.next()
		w.clusters["alpha"] = time.Duration(i+2) * time.Second
		w.set(s.Server)
	}
	eventually(t, "the memory of unanswered responses is full", func() bool {
		status := s.Status()
		return len(status) == 1 && status[0].Types[0].Unanswered == maxUnanswered
	})
}

func TestDeltaCutsLargeAnswers(t *testing.T) {
	s := start(t, func(s *Server) { s.deltaBytes = 10_000 })
	w := many(t, 500)
	w.set(s.Server)
	c := s.delta()
	c.send(subscribe(clusters))
	names := map[string]bool{}
	for len(names) < len(w.clusters) {
		_, a := take(c)
		if size := proto.Size(a); size > 11_000 {
			t.Errorf("a message of %d bytes", size)
		}
		for _, r := range a.Resources {
			if names[r.Name] {
				t.Errorf("%s came twice", r.Name)
			}
			names[r.Name] = true
		}
	}
	c.send(subscribe(extensions, "workload_metadata"))
	wantDelta(c, "extension workload_metadata")
	c.quiet()
}

// TestDeltaFollowsLongHistories changes more, and more often, than the server
// remembers between two looks of a stream.
func TestDeltaFollowsLongHistories(t *testing.T) {
	s, w := start(t), newWorld(t)
	w.set(s.Server)
	c := s.delta()
	c.send(subscribe(clusters))
	wantDelta(c, "cluster alpha beta")
	w.clusters["alpha"] = time.Minute
	w.set(s.Server)
	a := c.next() // not acknowledged: the next push waits
	for i := range 2 * historyGenerations {
		w.clusters["beta"] = time.Duration(i+2) * time.Second
		w.set(s.Server)
	}
	w.addCluster("gamma")
	w.set(s.Server)
	c.quiet()
	c.send(deltaAck(a))
	last := wantDelta(c, "cluster beta gamma") // the states in between are skipped
	got := &clusterv3.Cluster{}
	if err := last.Resources[0].Resource.UnmarshalTo(got); err != nil {
		t.Fatal(err)
	}
	if want := w.clusters["beta"]; got.ConnectTimeout.AsDuration() != want {
		t.Errorf("beta has %v, want the latest %v", got.ConnectTimeout.AsDuration(), want)
	}
}
