// SPDX-License-Identifier: Apache-2.0

package xds

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	listenerv3 "github.com/envoyproxy/go-control-plane/envoy/config/listener/v3"
	tcpproxyv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/network/tcp_proxy/v3"
	discoveryv3 "github.com/envoyproxy/go-control-plane/envoy/service/discovery/v3"
	"google.golang.org/protobuf/types/known/anypb"
)

// TestProxyFollowsAnySeriesOfChanges lets a proxy that behaves like Envoy follow
// random changes, some faster than it reads, with reconnects in between. After
// each round it must have exactly what is served, and at no moment may one of its
// listeners name a cluster that it doesn't have, with its endpoints.
func TestProxyFollowsAnySeriesOfChanges(t *testing.T) {
	for _, protocol := range []string{"delta", "sotw"} {
		for seed := range uint64(6) {
			t.Run(fmt.Sprintf("%s/%d", protocol, seed), func(t *testing.T) {
				t.Parallel()
				random := rand.New(rand.NewPCG(seed, 22))
				s, w := start(t), newWorld(t)
				w.set(s.Server)
				var p follower
				if protocol == "delta" {
					p = &deltaFollower{held: newHeld(t)}
				} else {
					p = &sotwFollower{held: newHeld(t)}
				}
				p.connect(s)
				for range 60 {
					for range 1 + random.IntN(5) {
						w.mutate(random)
						w.set(s.Server)
						for range random.IntN(3) {
							p.poll()
						}
					}
					if random.IntN(8) == 0 {
						p.connect(s)
					}
					catchUp(t, p, w)
				}
			})
		}
	}
}

// catchUp lets the proxy read until it has what is served.
func catchUp(t *testing.T, p follower, w *world) {
	t.Helper()
	want := w.served()
	for !p.state().answered || !p.state().equal(want) {
		if !p.wait() {
			t.Fatalf("the proxy has\n%v\nand should have\n%v", p.state().versions, want)
		}
	}
	p.state().settled = true
}

// mutate changes something.
func (w *world) mutate(random *rand.Rand) {
	names := slices.Sorted(maps.Keys(w.clusters))
	name := names[random.IntN(len(names))]
	listener := fmt.Sprintf("listener-%d", random.IntN(5))
	switch random.IntN(8) {
	case 0, 1:
		w.addCluster(fmt.Sprintf("cluster-%d", random.IntN(20)))
	case 2:
		w.clusters[name] = time.Duration(1+random.IntN(100)) * time.Second
	case 3:
		w.addresses[name] = fmt.Sprintf("10.4.3.%d", random.IntN(256))
	case 4:
		w.listeners[listener] = name
	case 5:
		delete(w.listeners, listener)
	case 6:
		w.internal["internal-"+listener] = name
	case 7:
		// A cluster goes, and what used it uses another.
		rest := slices.DeleteFunc(names, func(n string) bool { return n == name })
		if len(rest) == 0 {
			return
		}
		w.removeCluster(name)
		for _, users := range []map[string]string{w.listeners, w.internal} {
			for l, used := range users {
				if used == name {
					users[l] = rest[random.IntN(len(rest))]
				}
			}
		}
	}
}

// served are the versions of everything.
func (w *world) served() [3]map[string]string {
	r := w.resources()
	var all [3]map[string]string
	for k := range all {
		all[k] = map[string]string{}
		for _, resource := range resourcesOf(r, kind(k)) {
			all[k][resource.Name] = resource.Version
		}
	}
	return all
}

// follower is a proxy.
type follower interface {
	connect(*running)
	poll()      // take in what has come, if anything
	wait() bool // take in the next response, or give up
	state() *held
}

// held is what a proxy has.
type held struct {
	t        testing.TB
	versions [3]map[string]string // of clusters, endpoints and listeners
	uses     map[string]string    // listener → cluster
	// settled is set once everything has been taken in after connecting: until
	// then a proxy may lack what it hasn't asked for.
	settled bool
	// answered is set once the first answers have come: a state of the world
	// stream begins with what is served then, whatever the proxy has.
	answered bool
}

func newHeld(t testing.TB) held {
	return held{t: t, versions: [3]map[string]string{{}, {}, {}}, uses: map[string]string{}}
}

func (h *held) state() *held { return h }

func (h *held) equal(want [3]map[string]string) bool {
	for k, versions := range h.versions {
		if !maps.Equal(versions, want[k]) {
			return false
		}
	}
	return true
}

// take takes one resource in.
func (h *held) take(k kind, version string, body *anypb.Any) {
	m, err := body.UnmarshalNew()
	if err != nil {
		h.t.Fatal(err)
	}
	name := nameOf(k, m)
	h.versions[k][name] = version
	if l, ok := m.(*listenerv3.Listener); ok {
		proxy := &tcpproxyv3.TcpProxy{} // a world's listeners have one; of others nothing is noted
		if l.FilterChains[0].Filters[0].GetTypedConfig().UnmarshalTo(proxy) == nil {
			h.uses[name] = proxy.GetCluster()
		}
	}
}

func (h *held) remove(k kind, name string) {
	delete(h.versions[k], name)
	switch k {
	case clusters: // its endpoints go with it
		delete(h.versions[endpoints], name)
	case listeners:
		delete(h.uses, name)
	}
}

// check is the invariant.
func (h *held) check(after string) {
	if !h.settled {
		return
	}
	for l, cluster := range h.uses {
		_, exists := h.versions[clusters][cluster]
		_, reachable := h.versions[endpoints][cluster]
		if !exists || !reachable {
			h.t.Fatalf("after %q, %s uses %s: there %v, with endpoints %v", after, l, cluster, exists, reachable)
		}
	}
}

// deltaFollower is such a proxy over delta.
type deltaFollower struct {
	held
	c *deltaClient
}

func (p *deltaFollower) connect(s *running) {
	if p.c != nil {
		p.c.close()
	}
	p.c, p.settled, p.answered = s.delta(), false, true
	for _, k := range []kind{clusters, endpoints, listeners} {
		r := subscribe(k)
		r.InitialResourceVersions = maps.Clone(p.versions[k])
		if k == endpoints {
			r.ResourceNamesSubscribe = slices.Sorted(maps.Keys(p.versions[clusters]))
			if len(r.ResourceNamesSubscribe) == 0 {
				continue
			}
		}
		p.c.send(r)
	}
}

func (p *deltaFollower) poll() {
	select {
	case a := <-p.c.in:
		p.handle(a)
	default:
	}
}

func (p *deltaFollower) wait() bool {
	select {
	case a := <-p.c.in:
		p.handle(a)
		return true
	case <-time.After(patience):
		return false
	}
}

func (p *deltaFollower) handle(a *discoveryv3.DeltaDiscoveryResponse) {
	k, _ := kindOf(a.TypeUrl)
	follow := subscribe(endpoints)
	for _, r := range a.Resources {
		if _, had := p.versions[k][r.Name]; k == clusters && !had {
			follow.ResourceNamesSubscribe = append(follow.ResourceNamesSubscribe, r.Name)
		}
		p.take(k, r.Version, r.Resource)
	}
	for _, name := range a.RemovedResources {
		if _, had := p.versions[k][name]; k == clusters && had {
			follow.ResourceNamesUnsubscribe = append(follow.ResourceNamesUnsubscribe, name)
		}
		p.remove(k, name)
	}
	if len(follow.ResourceNamesSubscribe)+len(follow.ResourceNamesUnsubscribe) > 0 {
		p.c.send(follow)
	}
	p.c.send(deltaAck(a))
	p.check(describeDelta(a))
}

// sotwFollower is such a proxy over state of the world.
type sotwFollower struct {
	held
	c     *sotwClient
	named string // the endpoints asked for last
	last  *discoveryv3.DiscoveryResponse
}

func (p *sotwFollower) connect(s *running) {
	if p.c != nil {
		p.c.close()
	}
	p.c, p.settled, p.answered, p.last, p.named = s.sotw(), false, false, nil, ""
	p.c.send(ask(clusters))
	p.askEndpoints()
	p.c.send(ask(listeners))
}

// askEndpoints subscribes to the endpoints of the clusters that are held.
func (p *sotwFollower) askEndpoints() {
	names := slices.Sorted(maps.Keys(p.versions[clusters]))
	if p.named == strings.Join(names, " ") {
		return
	}
	p.named = strings.Join(names, " ")
	r := ask(endpoints, names...)
	if p.last != nil {
		r.ResponseNonce, r.VersionInfo = p.last.Nonce, p.last.VersionInfo
	}
	p.c.send(r)
}

func (p *sotwFollower) poll() {
	select {
	case a := <-p.c.in:
		p.handle(a)
	default:
	}
}

func (p *sotwFollower) wait() bool {
	select {
	case a := <-p.c.in:
		p.handle(a)
		return true
	case <-time.After(patience):
		return false
	}
}

func (p *sotwFollower) handle(a *discoveryv3.DiscoveryResponse) {
	k, _ := kindOf(a.TypeUrl)
	before := p.versions[k]
	if k != endpoints {
		p.versions[k] = map[string]string{}
	}
	for _, body := range a.Resources {
		p.take(k, packedVersion(body.Value), body)
	}
	for name := range before {
		if _, still := p.versions[k][name]; !still {
			p.remove(k, name)
		}
	}
	switch k {
	case clusters:
		p.askEndpoints()
		p.c.send(ack(a))
	case endpoints:
		p.last = a
		// What came for a cluster that has gone meanwhile is dropped.
		maps.DeleteFunc(p.versions[endpoints], func(name, _ string) bool {
			_, used := p.versions[clusters][name]
			return !used
		})
		p.c.send(ack(a, strings.Fields(p.named)...))
	default:
		p.answered = true
		p.c.send(ack(a))
	}
	p.check(describe(p.t, a))
}
