// SPDX-License-Identifier: Apache-2.0

package envoyconfig_test

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"slices"
	"testing"

	"google.golang.org/protobuf/proto"

	"github.com/ambient22/ambient22/envoyconfig"
	"github.com/ambient22/ambient22/internal/mesh"
)

// TestRandomMeshes builds meshes of every shape: each is valid and consistent
// in every form, and the same bytes come out in whatever order things go in.
func TestRandomMeshes(t *testing.T) {
	for seed := range uint64(80) {
		random := rand.New(rand.NewPCG(seed, 22))
		s := randomMesh(random, 1+random.IntN(4), random.IntN(30), random.IntN(15))
		options := envoyconfig.Options{
			Node: "node-0", ProxyID: "ztunnel-x.istio-system",
			Profile: envoyconfig.Profile(seed % 2), Dialect: envoyconfig.Dialect(seed / 2 % 2),
		}
		first, err := envoyconfig.Build(s, options)
		if err != nil {
			t.Fatalf("seed %d: %v", seed, err)
		}
		if err := first.Verify(); err != nil {
			t.Fatalf("seed %d, %s, %s: %v", seed, options.Profile, options.Dialect, err)
		}
		for range 3 {
			shuffle(random, s)
			again, err := envoyconfig.Build(s, options)
			if err != nil {
				t.Fatalf("seed %d, shuffled: %v", seed, err)
			}
			if err := same(first, again); err != nil {
				t.Fatalf("seed %d: the order of the input shows: %v", seed, err)
			}
		}
		if err := wellFormed(first); err != nil {
			t.Fatalf("seed %d: %v", seed, err)
		}
	}
}

// wellFormed checks what is true of any set of resources: sorted, and the bytes
// that are served are the message that is shown.
func wellFormed(r *envoyconfig.Resources) error {
	for url, kind := range map[string][]*envoyconfig.Resource{
		envoyconfig.ListenerType: r.Listeners, envoyconfig.ClusterType: r.Clusters,
		envoyconfig.EndpointType: r.Endpoints, envoyconfig.ExtensionType: r.Extensions,
	} {
		for i, resource := range kind {
			m, err := resource.Message()
			if err != nil {
				return err
			}
			again, err := proto.MarshalOptions{Deterministic: true}.Marshal(m)
			if err != nil {
				return err
			}
			switch {
			case resource.Type != url:
				return fmt.Errorf("%s has the type %s", resource.Name, resource.Type)
			case !bytes.Equal(again, resource.Body().Value):
				return fmt.Errorf("%s: the wire form is not the deterministic one", resource.Name)
			case i > 0 && kind[i-1].Name >= resource.Name:
				return fmt.Errorf("%s is out of order", resource.Name)
			case len(resource.Version) != 16:
				return fmt.Errorf("%s has the version %q", resource.Name, resource.Version)
			}
		}
	}
	return nil
}

func same(a, b *envoyconfig.Resources) error {
	if !slices.Equal(a.Secrets, b.Secrets) {
		return fmt.Errorf("secrets: %v, %v", a.Secrets, b.Secrets)
	}
	for _, kind := range [][2][]*envoyconfig.Resource{
		{a.Listeners, b.Listeners}, {a.Clusters, b.Clusters}, {a.Endpoints, b.Endpoints}, {a.Extensions, b.Extensions},
	} {
		if len(kind[0]) != len(kind[1]) {
			return fmt.Errorf("%d resources, then %d", len(kind[0]), len(kind[1]))
		}
		for i, x := range kind[0] {
			y := kind[1][i]
			if x.Name != y.Name || x.Version != y.Version || !bytes.Equal(x.Body().Value, y.Body().Value) {
				return fmt.Errorf("%s (%s) and %s (%s)", x.Name, x.Version, y.Name, y.Version)
			}
		}
	}
	return nil
}

func shuffle(random *rand.Rand, s *mesh.Snapshot) {
	mix := func(n int, swap func(i, j int)) { random.Shuffle(n, swap) }
	mix(len(s.Nodes), func(i, j int) { s.Nodes[i], s.Nodes[j] = s.Nodes[j], s.Nodes[i] })
	mix(len(s.Workloads), func(i, j int) { s.Workloads[i], s.Workloads[j] = s.Workloads[j], s.Workloads[i] })
	mix(len(s.Services), func(i, j int) { s.Services[i], s.Services[j] = s.Services[j], s.Services[i] })
	mix(len(s.Policies), func(i, j int) { s.Policies[i], s.Policies[j] = s.Policies[j], s.Policies[i] })
	mix(len(s.PeerAuthentications), func(i, j int) {
		s.PeerAuthentications[i], s.PeerAuthentications[j] = s.PeerAuthentications[j], s.PeerAuthentications[i]
	})
	for _, service := range s.Services {
		for _, p := range service.Ports {
			mix(len(p.Endpoints), func(i, j int) { p.Endpoints[i], p.Endpoints[j] = p.Endpoints[j], p.Endpoints[i] })
		}
		mix(len(service.Ports), func(i, j int) { service.Ports[i], service.Ports[j] = service.Ports[j], service.Ports[i] })
	}
}

// address is the n-th address of a range.
func address(first, n int) netip.Addr {
	return netip.AddrFrom4([4]byte{byte(first), byte(n >> 16), byte(n >> 8), byte(n)})
}
