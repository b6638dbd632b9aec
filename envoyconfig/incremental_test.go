// SPDX-License-Identifier: Apache-2.0

package envoyconfig_test

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/ambient22/ambient22/envoyconfig"
	"github.com/ambient22/ambient22/internal/mesh"
)

// TestIncremental takes one builder through random series of changes. After each,
// what it has made is what a builder makes that knows nothing of what was before,
// it is as consistent as it is vouched for, and nothing that is the same as before
// was made again.
func TestIncremental(t *testing.T) {
	refused := 0
	for seed := range uint64(32) {
		random := rand.New(rand.NewPCG(seed, 23))
		m := meshInMotion{random: random, pods: random.IntN(25), services: random.IntN(12)}
		steps := 24
		if seed == 12 {
			m.pods, m.services, steps = 150, 50, 10 // enough for several chunks
		}
		m.now = randomMesh(random, 1+random.IntN(3), m.pods, m.services)
		options := envoyconfig.Options{
			Node:    "node-0",
			Profile: envoyconfig.Profile(seed % 2), Dialect: envoyconfig.Dialect(seed / 2 % 2),
		}
		b := envoyconfig.NewBuilder(options)
		var before *envoyconfig.Resources
		good, trustDomain := m.now, ""
		for step := range steps {
			options.ProxyID = fmt.Sprintf("ztunnel-%d.istio-system", m.ztunnel)
			after, err := b.Update(m.now, options.ProxyID)
			fresh, freshErr := envoyconfig.Build(m.now, options)
			if fmt.Sprint(err) != fmt.Sprint(freshErr) {
				t.Fatalf("seed %d, step %d, %s: error %v, from nothing %v", seed, step, m.what, err, freshErr)
			}
			if err != nil {
				refused++
				m.now = good
			} else {
				good = m.now
				if m.now.TrustDomain != trustDomain {
					before, trustDomain = nil, m.now.TrustDomain
				}
				if err := sameButNew(before, after, fresh); err != nil {
					t.Fatalf("seed %d, step %d, %s: %v", seed, step, m.what, err)
				}
				before = after
			}
			m.move()
		}
	}
	if refused == 0 {
		t.Error("no mesh was refused")
	}
}

// TestOneMore counts what is new of each kind when one thing more is there.
func TestOneMore(t *testing.T) {
	const identities = 11 // ten pods of the node, and the one that all services share
	for name, c := range map[string]struct {
		change func(*mesh.Snapshot)
		want   [4]int // listeners, clusters, endpoints, extensions
	}{
		"nothing":  {func(*mesh.Snapshot) {}, [4]int{}},
		"endpoint": {oneEndpointLess, [4]int{0, 0, identities, 0}},
		"service":  {oneServiceMore, [4]int{1, identities, identities, 0}},
		// All three listeners know it, and one is for its identity alone.
		"pod":    {onePodMore, [4]int{4, 3 + 100, 100, 1}},
		"policy": {onePolicyMore, [4]int{2, 0, 0, 0}},
	} {
		t.Run(name, func(t *testing.T) {
			s := benchMesh(benchSize{10, 100}, true)
			b := envoyconfig.NewBuilder(envoyconfig.Options{Node: "node-0"})
			before := advance(t, b, s)
			c.change(s)
			after := lists(advance(t, b, s))
			var got [4]int
			for k, old := range lists(before) {
				for _, r := range after[k] {
					if !slices.Contains(old, r) {
						got[k]++
					}
				}
			}
			if got != c.want {
				t.Errorf("new are %v, want %v", got, c.want)
			}
		})
	}
}

// sameButNew compares what a builder made with what one makes from nothing, and
// with what it had made before.
func sameButNew(before, after, fresh *envoyconfig.Resources) error {
	if err := same(fresh, after); err != nil {
		return fmt.Errorf("from nothing, it is something else: %w", err)
	}
	if !after.Proven() {
		return fmt.Errorf("it is not vouched for")
	}
	if err := after.Verify(); err != nil {
		return err
	}
	if err := wellFormed(after); err != nil {
		return err
	}
	if before == nil {
		return nil
	}
	old := lists(before)
	for k, list := range lists(after) {
		if err := keptAll(old[k], list); err != nil {
			return err
		}
	}
	return nil
}

func lists(r *envoyconfig.Resources) [4][]*envoyconfig.Resource {
	return [...][]*envoyconfig.Resource{r.Listeners, r.Clusters, r.Endpoints, r.Extensions}
}

// keptAll wants the same resource, and the same list, where nothing is new.
func keptAll(old, list []*envoyconfig.Resource) error {
	had := map[string]*envoyconfig.Resource{}
	for _, r := range old {
		had[r.Name] = r
	}
	for _, r := range list {
		if was := had[r.Name]; was != nil && was != r && was.Version == r.Version {
			return fmt.Errorf("%s was made again", r.Name)
		}
	}
	if slices.Equal(old, list) && len(list) > 0 && &old[0] != &list[0] {
		return fmt.Errorf("a list was made again")
	}
	return nil
}
