// SPDX-License-Identifier: Apache-2.0

package config

import (
	"fmt"
	"net/netip"
	"testing"
	"time"

	tlsv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/transport_sockets/tls/v3"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/anypb"

	"github.com/ambient22/ambient22/envoyconfig"
	"github.com/ambient22/ambient22/internal/mesh"
	"github.com/ambient22/ambient22/internal/proxy/proxytest"
)

// seed is a resource that the decoder takes, of the kind that FuzzDecode counts.
type seed struct {
	kind  byte
	value []byte
}

// decodeSeed decodes a resource of a kind, and uses what came of it.
func decodeSeed(d *Decoder, s seed) error {
	types := []string{
		envoyconfig.ListenerType, envoyconfig.ClusterType, envoyconfig.EndpointType, envoyconfig.ExtensionType, envoyconfig.SecretType,
	}
	kind := int(s.kind) % len(types)
	body := &anypb.Any{TypeUrl: types[kind], Value: s.value}
	switch kind {
	case 0:
		l, err := d.Listener(body)
		if err == nil {
			l.FindChain(anywhere, anywhere)
			ask(l)
			l.Secrets()
			l.Extensions()
		}
		return err
	case 1:
		c, err := d.Cluster(body)
		if err == nil {
			c.Secrets()
			c.SocketFor(&Host{})
		}
		return err
	case 2:
		_, hosts, err := d.Endpoints(body)
		for i := range hosts {
			_ = hosts[i].String()
		}
		return err
	case 3:
		_, _, err := d.Extension(body)
		return err
	default:
		s, err := d.Secret(body)
		if err == nil {
			_ = s.Expired(time.Time{})
		}
		return err
	}
}

// servedSeeds is everything that ztunnels of a small mesh are served, in every
// profile and dialect, each content once.
func servedSeeds(t testing.TB) []seed {
	t.Helper()
	var all []seed
	seen := map[string]bool{}
	add := func(kind byte, value []byte) {
		if key := fmt.Sprint(kind, string(value)); !seen[key] {
			seen[key] = true
			all = append(all, seed{kind, value})
		}
	}
	for _, profile := range []envoyconfig.Profile{envoyconfig.Article, envoyconfig.Hardened} {
		for _, dialect := range []envoyconfig.Dialect{envoyconfig.Istio116, envoyconfig.Upstream} {
			r, err := envoyconfig.Build(seedMesh(), envoyconfig.Options{Node: "a", ProxyID: "z.istio-system", Profile: profile, Dialect: dialect})
			if err != nil {
				t.Fatal(err)
			}
			for kind, list := range [][]*envoyconfig.Resource{r.Listeners, r.Clusters, r.Endpoints, r.Extensions} {
				for _, resource := range list {
					add(byte(kind), resource.Body().GetValue())
				}
			}
		}
	}
	for _, secret := range seedSecrets(t) {
		value, err := proto.Marshal(secret)
		if err != nil {
			t.Fatal(err)
		}
		add(4, value)
	}
	return all
}

// seedMesh has one of everything: a caller, a service on either node, a waypoint,
// a pod that ends tunnels itself, policies of both kinds.
func seedMesh() *mesh.Snapshot {
	pod := func(name, node, ip string) mesh.Workload {
		return mesh.Workload{
			UID: name, Namespace: "default", Name: name, ServiceAccount: name, Node: node, IP: netip.MustParseAddr(ip),
			Labels: map[string]string{"app": name}, Ready: true, Class: mesh.InMesh,
		}
	}
	waypoint, native := pod("w", "b", "10.2.0.9"), pod("n", "a", "10.1.0.5")
	waypoint.Class, waypoint.ServiceAccount = mesh.Waypoint, "r"
	native.Labels[mesh.LabelTunnel] = mesh.TunnelH2
	s := &mesh.Snapshot{
		TrustDomain: mesh.DefaultTrustDomain,
		Nodes:       []mesh.Node{{Name: "a", InternalIP: netip.MustParseAddr("192.0.2.1")}, {Name: "b", InternalIP: netip.MustParseAddr("192.0.2.2")}},
		Workloads:   []mesh.Workload{pod("p", "a", "10.1.0.3"), pod("q", "b", "10.2.0.3"), pod("r", "a", "10.1.0.4"), waypoint, native},
		Services: []mesh.Service{{Namespace: "default", Name: "q", VIP: netip.MustParseAddr("10.3.0.1"), Ports: []mesh.ServicePort{{
			Name: "http", Number: 80, Endpoints: []mesh.Endpoint{
				{IP: netip.MustParseAddr("10.1.0.5"), Port: 8080}, {IP: netip.MustParseAddr("10.2.0.3"), Port: 8080}, {IP: netip.MustParseAddr("203.0.113.1"), Port: 9},
			},
		}}}},
		Policies: []mesh.AuthorizationPolicy{
			{Namespace: "default", Name: "allow", Selector: map[string]string{"app": "p"}, Rules: []mesh.Rule{{
				From: []mesh.Source{{Principals: []string{"cluster.local/ns/default/sa/q", "*z"}, NotNamespaces: []string{"x*"}}},
				To:   []mesh.Operation{{Ports: []uint16{80}}},
			}}},
			{Namespace: mesh.RootNamespace, Name: "deny", Action: mesh.Deny, Rules: []mesh.Rule{{
				From:       []mesh.Source{{IPBlocks: []netip.Prefix{netip.MustParsePrefix("198.51.100.0/24")}}},
				WhenCalled: []mesh.Operation{{SNI: []string{"a.*"}, NotPorts: []uint16{81}}},
			}}},
		},
		PeerAuthentications: []mesh.PeerAuthentication{{
			Namespace: "default", Name: "strict", Selector: map[string]string{"app": "p"}, Mode: mesh.MTLSStrict, Ports: map[uint16]mesh.MTLSMode{81: mesh.MTLSPermissive},
		}},
	}
	s.Sort()
	return s
}

func seedSecrets(t testing.TB) []*tlsv3.Secret {
	t.Helper()
	ca, err := proxytest.NewCA()
	if err != nil {
		t.Fatal(err)
	}
	leaf, err := ca.Secret(sleep+"~p~p", sleep)
	if err != nil {
		t.Fatal(err)
	}
	return []*tlsv3.Secret{leaf, ca.Roots("ROOTCA")}
}

// TestSeedsAreTaken: only what is taken leads the fuzzer deep into the decoder.
func TestSeedsAreTaken(t *testing.T) {
	kinds := map[byte]int{}
	for _, s := range servedSeeds(t) {
		kinds[s.kind]++
		if err := decodeSeed(NewDecoder("sds-grpc"), s); err != nil {
			t.Errorf("a resource of kind %d that is served: %v", s.kind, err)
		}
	}
	for kind := range byte(5) {
		if kinds[kind] == 0 {
			t.Errorf("no seed of kind %d", kind)
		}
	}
}
