// SPDX-License-Identifier: Apache-2.0

package xds

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	clusterv3 "github.com/envoyproxy/go-control-plane/envoy/config/cluster/v3"
	discoveryv3 "github.com/envoyproxy/go-control-plane/envoy/service/discovery/v3"

	"github.com/ambient22/ambient22/envoyconfig"
)

// proxies runs so many proxies at once, each in its own goroutine, every other one
// in state of the world.
func proxies(t *testing.T, n int, run func(i int, p follower)) {
	var group sync.WaitGroup
	for i := range n {
		var p follower = &deltaFollower{held: newHeld(t)}
		if i%2 == 1 {
			p = &sotwFollower{held: newHeld(t)}
		}
		group.Go(func() { run(i, p) })
	}
	group.Wait()
}

// TestManyProxies lets 200 proxies follow while everything changes and while all of
// them reconnect at once, again and again. Each ends up with exactly what is
// served, and was at no moment without something that it uses.
func TestManyProxies(t *testing.T) {
	const crowd, rounds = 200, 2
	s, w := start(t), many(t, 10)
	w.set(s.Server)
	random := rand.New(rand.NewPCG(3, 22))
	all := make([]follower, crowd)
	proxies(t, crowd, func(i int, p follower) {
		all[i] = p
		p.connect(s)
	})
	for range rounds {
		for range 10 {
			w.mutate(random)
			w.set(s.Server)
		}
		want := w.served()
		var group sync.WaitGroup
		for _, p := range all {
			group.Go(func() {
				for !p.state().answered || !p.state().equal(want) {
					if !p.wait() {
						t.Errorf("the proxy has\n%v\nand should have\n%v", p.state().versions, want)
						return
					}
				}
				p.state().settled = true
				p.connect(s) // all at once, with the versions they have
			})
		}
		group.Wait()
	}
	eventually(t, "streams that were left have ended", func() bool {
		return s.metric("streams", "delta", adsService)+s.metric("streams", "state of the world", adsService) == crowd
	})
}

// TestReconnectStorm lets 200 delta proxies with everything reconnect at once.
// Nothing has changed, so nothing is sent.
func TestReconnectStorm(t *testing.T) {
	s, w := start(t), many(t, 300)
	w.set(s.Server)
	c := s.delta()
	var had [resourceKinds]map[string]string
	for k, names := range [resourceKinds][]string{
		endpoints:  slices.Sorted(maps.Keys(w.clusters)),
		extensions: {"workload_metadata"},
	} {
		c.send(subscribe(kind(k), names...))
		_, a := take(c)
		had[k] = versions(a)
	}
	sent := func() (n float64) {
		for k := range resourceKinds {
			n += s.metric("push_resources_total", k.String())
		}
		return n
	}
	before := sent()
	var group sync.WaitGroup
	for range 200 {
		group.Go(func() {
			c := s.delta()
			for k := range resourceKinds {
				request := subscribe(k)
				request.InitialResourceVersions = had[k]
				if !k.listed() {
					request.ResourceNamesSubscribe = slices.Sorted(maps.Keys(had[k]))
				}
				c.send(request)
			}
			c.send(subscribe(secrets, podName)) // answered after the others
			if got, _ := take(c); got != "secret "+podName {
				t.Errorf("got %q", got)
			}
		})
	}
	group.Wait()
	if after := sent(); after != before {
		t.Errorf("%v resources were sent to proxies that had them", after-before)
	}
}

// TestStuckProxyTakesNoMemory lets a proxy stop reading while what it subscribed to
// changes 60 times, a megabyte each. It costs what is under way to it, and no more.
func TestStuckProxyTakesNoMemory(t *testing.T) {
	s, w := start(t, func(s *Server) { s.ackWait = time.Millisecond }), newWorld(t)
	large := strings.Repeat("x", 1<<20)
	set := func(i int) {
		w.extension = fmt.Sprint(i, large)
		w.set(s.Server)
	}
	set(0)
	stuck, err := discoveryv3.NewAggregatedDiscoveryServiceClient(s.dial()).DeltaAggregatedResources(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if err := stuck.Send(subscribe(extensions, "workload_metadata")); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the first has been sent", func() bool { return s.metric("pushes_total", "extension") == 1 })
	heap := func() int64 {
		runtime.GC()
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		return int64(m.HeapAlloc)
	}
	healthy := s.delta()
	healthy.send(subscribe(endpoints, "alpha"))
	wantDelta(healthy, "endpoint alpha")
	before := heap()
	for i := range 60 {
		w.addresses["alpha"] = fmt.Sprintf("10.5.%d.%d", i>>8, i&255)
		set(i + 1)
		wantDelta(healthy, "endpoint alpha")
	}
	if grown := heap() - before; grown > 16<<20 {
		t.Errorf("the heap has grown by %d MB", grown>>20)
	}
	if got := s.metric("pushes_total", "extension"); got > 3 {
		t.Errorf("%v responses were made for a proxy that doesn't read", got)
	}
}

// TestSecretsOfManyPods rotates the certificates of 200 pods that each have a
// stream of their own, as Envoy's SDS has: no stream ends, each gets its pod's new
// certificate, and no identity is issued twice for one rotation.
func TestSecretsOfManyPods(t *testing.T) {
	const pods, accounts = 200, 20
	s, w := start(t), newWorld(t)
	w.secrets = nil
	identity := func(i int) string { return fmt.Sprintf("spiffe://cluster.local/ns/default/sa/account-%d", i%accounts) }
	name := func(i int) string { return fmt.Sprintf("%s~pod-%d~uid", identity(i), i) }
	for i := range pods {
		w.secrets = append(w.secrets, envoyconfig.SecretName{Name: name(i), Identity: identity(i)})
	}
	w.set(s.Server)
	conn := s.dial()
	clients := make([]*deltaClient, pods)
	for i := range clients {
		clients[i] = s.deltaSDSOn(conn)
		clients[i].send(subscribe(secrets, name(i)))
	}
	for round := 1; round <= 3; round++ {
		for i, c := range clients {
			a := wantDelta(c, "secret "+name(i))
			chain := secretIn(t, a.Resources[0].Resource).GetTlsCertificate().GetCertificateChain().GetInlineBytes()
			if want := fmt.Sprintf("chain %d of %s", round, identity(i)); string(chain) != want {
				t.Fatalf("chain %q, want %q", chain, want)
			}
		}
		for _, c := range clients {
			c.quiet()
		}
		s.source.rotate()
	}
	if got := s.metric("streams", "delta", sdsService); got != pods {
		t.Errorf("%v streams are left", got)
	}
}

// TestWithdrawnSecretAfterReconnect: a pod has left while the proxy was away, and
// with it the certificate that the proxy says it has.
func TestWithdrawnSecretAfterReconnect(t *testing.T) {
	s, w := start(t), newWorld(t)
	w.set(s.Server)
	d := s.deltaSDS()
	d.send(subscribe(secrets, podName, envoyconfig.RootCASecret))
	had := versions(wantDelta(d, "secret "+envoyconfig.RootCASecret+" "+podName))
	d.close()
	w.secrets = nil
	w.set(s.Server)
	d = s.deltaSDS()
	again := subscribe(secrets, podName, envoyconfig.RootCASecret)
	again.InitialResourceVersions = had
	d.send(again)
	wantDelta(d, "secret -"+podName)
	d.quiet()
}

// TestRejectedResourceAfterReconnect: a proxy that refused a cluster runs on the
// older one, and says so when it comes back. It is sent the new one again, because
// it may be able to use it now, and nothing else; refusing it again, it keeps what
// uses the older one.
func TestRejectedResourceAfterReconnect(t *testing.T) {
	s, w := start(t), newWorld(t)
	w.set(s.Server)
	c := s.delta()
	c.send(subscribe(clusters))
	had := versions(wantDelta(c, "cluster alpha beta"))
	w.clusters["alpha"] = time.Minute
	w.set(s.Server)
	refuse := func() {
		a := c.next()
		if got := describeDelta(a); got != "cluster alpha" {
			t.Fatalf("got %q", got)
		}
		nack := deltaAck(a)
		nack.ErrorDetail = refusal("alpha: timeout")
		c.send(nack)
	}
	refuse()
	eventually(t, "the rejection is counted", func() bool { return s.metric("rejected_resources", "cluster") == 1 })
	c.close()
	eventually(t, "who left rejects nothing", func() bool { return s.metric("rejected_resources", "cluster") == 0 })

	c = s.delta()
	again := subscribe(clusters)
	again.InitialResourceVersions = had
	c.send(again)
	refuse()
	w.removeCluster("beta")
	w.listeners["ztunnel_outbound"] = "alpha"
	w.addCluster("gamma")
	w.set(s.Server)
	wantDelta(c, "cluster gamma") // beta may still be in use
	c.send(subscribe(extensions, "workload_metadata"))
	wantDelta(c, "extension workload_metadata")
	c.quiet()
	w.clusters["alpha"] = time.Second
	w.set(s.Server)
	a := wantDelta(c, "cluster alpha")
	got := &clusterv3.Cluster{}
	if err := a.Resources[0].Resource.UnmarshalTo(got); err != nil || got.ConnectTimeout.AsDuration() != time.Second {
		t.Errorf("got %v, %v", got, err)
	}
	wantDelta(c, "cluster -beta")
	if nacks := s.metric("nacks_total", "cluster"); nacks != 2 {
		t.Errorf("%v NACKs", nacks)
	}
}
