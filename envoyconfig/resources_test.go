// SPDX-License-Identifier: Apache-2.0

package envoyconfig_test

import (
	"slices"
	"strings"
	"testing"

	listenerv3 "github.com/envoyproxy/go-control-plane/envoy/config/listener/v3"
	"google.golang.org/protobuf/proto"

	"github.com/ambient22/ambient22/envoyconfig"
	"github.com/ambient22/ambient22/internal/mesh"
)

// TestInternal asks every listener, in one part and cut into parts of all sizes.
func TestInternal(t *testing.T) {
	listeners := build(t, func(*mesh.Snapshot) {}).Listeners
	for _, l := range listeners {
		m, err := l.Message()
		if err != nil {
			t.Fatal(err)
		}
		want := m.(*listenerv3.Listener).GetInternalListener() != nil
		if want == strings.HasPrefix(l.Name, "ztunnel_") {
			t.Errorf("%s: internal: %v", l.Name, want)
		}
		whole := l.Body().Value
		for size := 1; size < len(whole); size += 1 + size/3 {
			cut := *l
			cut.Wire = slices.Collect(slices.Chunk(whole, size))
			cut.Wire = slices.Insert(cut.Wire, len(cut.Wire)/2, nil)
			if got := cut.Internal(); got != want {
				t.Errorf("%s in parts of %d bytes: internal: %v", l.Name, size, got)
			}
			if again, err := cut.Message(); err != nil || !proto.Equal(again, m) {
				t.Errorf("%s in parts of %d bytes is another message: %v", l.Name, size, err)
			}
			cut.Wire = cut.Wire[:len(cut.Wire)/2] // no message any more, but no reason to panic
			cut.Internal()
		}
	}
	for _, r := range build(t, func(*mesh.Snapshot) {}).Clusters {
		if r.Internal() {
			t.Errorf("cluster %s is an internal listener", r.Name)
		}
	}
}

// TestBuilderKeeps changes one service's endpoints: everything else stays the same
// in memory, and lists without a change stay the same list.
func TestBuilderKeeps(t *testing.T) {
	b := envoyconfig.NewBuilder(envoyconfig.Options{Node: nodeA})
	update := func(change func(*mesh.Snapshot)) *envoyconfig.Resources {
		s := articleMesh()
		change(s)
		r, err := b.Update(s, "ztunnel-rts54.istio-system")
		if err != nil {
			t.Fatal(err)
		}
		if !r.Proven() {
			t.Error("a builder does not vouch for what it made")
		}
		return r
	}
	first := update(func(*mesh.Snapshot) {})
	same := update(func(*mesh.Snapshot) {})
	if &first.Clusters[0] != &same.Clusters[0] || &first.Secrets[0] != &same.Secrets[0] {
		t.Error("without a change, lists are new")
	}
	var touched string
	third := update(func(s *mesh.Snapshot) {
		touched = s.Services[0].Hostname()
		s.Services[0].Ports[0].Endpoints = nil
	})
	if &first.Listeners[0] != &third.Listeners[0] || &first.Clusters[0] != &third.Clusters[0] {
		t.Error("a change of endpoints makes other lists new")
	}
	changed := 0
	for i, r := range third.Endpoints {
		if r == first.Endpoints[i] {
			continue
		}
		changed++
		if !strings.Contains(r.Name, touched) {
			t.Errorf("%s is new", r.Name)
		}
	}
	if changed == 0 {
		t.Error("nothing has changed")
	}
	if _, err := b.Update(&mesh.Snapshot{}, ""); err == nil {
		t.Error("a mesh without the node gives resources")
	}
	if last := update(func(*mesh.Snapshot) {}); &last.Clusters[0] != &first.Clusters[0] {
		t.Error("after a mesh that can't be served, everything is new")
	}
}

// TestProof is about who vouches: a builder for what it returned, and for nothing
// that was made of it.
func TestProof(t *testing.T) {
	r := build(t, func(*mesh.Snapshot) {})
	if err := r.Verify(); err != nil || !r.Proven() {
		t.Errorf("proven: %v, verified: %v", r.Proven(), err)
	}
	for name, change := range map[string]func(*envoyconfig.Resources){
		"cut":    func(r *envoyconfig.Resources) { r.Clusters = r.Clusters[1:] },
		"grown":  func(r *envoyconfig.Resources) { r.Endpoints = append(r.Endpoints, r.Endpoints[0]) },
		"cloned": func(r *envoyconfig.Resources) { r.Listeners = slices.Clone(r.Listeners) },
		"names":  func(r *envoyconfig.Resources) { r.Secrets = nil },
	} {
		other := *r
		change(&other)
		if other.Proven() {
			t.Errorf("%s: still proven", name)
		}
	}
	if made := (&envoyconfig.Resources{}); made.Proven() {
		t.Error("resources of unknown origin are proven")
	}
}
