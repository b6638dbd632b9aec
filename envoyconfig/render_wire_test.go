// SPDX-License-Identifier: Apache-2.0

package envoyconfig

import (
	"bufio"
	"bytes"
	"net/netip"
	"testing"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	listenerv3 "github.com/envoyproxy/go-control-plane/envoy/config/listener/v3"
	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/anypb"
	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/structpb"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"github.com/ambient22/ambient22/internal/mesh"
)

// rendered prints one message, decoding what has up to large bytes at once.
func rendered(t *testing.T, m proto.Message, large int) string {
	t.Helper()
	wire, err := proto.MarshalOptions{Deterministic: true}.Marshal(m)
	if err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	p := &renderer{out: bufio.NewWriter(&out), large: large}
	if err := p.message(m.ProtoReflect().Descriptor(), wire, "", ""); err != nil {
		t.Fatal(err)
	}
	if err := p.out.Flush(); err != nil {
		t.Fatal(err)
	}
	return out.String()
}

// TestRenderInPieces: where a message is taken apart does not show.
func TestRenderInPieces(t *testing.T) {
	pod := func(name, ip string) mesh.Workload {
		return mesh.Workload{UID: name, Namespace: "default", Name: name, ServiceAccount: name, Node: "a", IP: netip.MustParseAddr(ip), Ready: true, Class: mesh.InMesh}
	}
	s := &mesh.Snapshot{
		TrustDomain: mesh.DefaultTrustDomain, Nodes: []mesh.Node{{Name: "a"}},
		Workloads: []mesh.Workload{pod("p", "10.1.0.3"), pod("q", "10.1.0.4")},
		Services: []mesh.Service{{Namespace: "default", Name: "q", VIP: netip.MustParseAddr("10.3.0.1"), Ports: []mesh.ServicePort{
			{Name: "http", Number: 80, Endpoints: []mesh.Endpoint{{IP: netip.MustParseAddr("10.1.0.4"), Port: 80}}},
		}}},
		Policies: []mesh.AuthorizationPolicy{{Namespace: "default", Name: "x", Rules: []mesh.Rule{{From: []mesh.Source{{Principals: []string{"<*"}}}}}}},
	}
	packed, err := anypb.New(wrapperspb.String("a<b>"))
	if err != nil {
		t.Fatal(err)
	}
	fields, err := structpb.NewStruct(map[string]any{"n": 1.5, "l": []any{nil, true}, "": "x"})
	if err != nil {
		t.Fatal(err)
	}
	messages := []proto.Message{
		&listenerv3.Listener{},
		&listenerv3.Listener{
			Name: "\"\u2028<", ListenerFiltersTimeout: durationpb.New(0), Transparent: wrapperspb.Bool(false),
			FilterChains: []*listenerv3.FilterChain{{}, {Name: "x", Metadata: &corev3.Metadata{
				FilterMetadata: map[string]*structpb.Struct{"b": fields, "a": {}}, TypedFilterMetadata: map[string]*anypb.Any{"t": packed},
			}}},
			DefaultFilterChain: &listenerv3.FilterChain{},
		},
	}
	for _, profile := range []Profile{Article, Hardened} {
		r, err := Build(s, Options{Node: "a", ProxyID: "z", Profile: profile})
		if err != nil {
			t.Fatal(err)
		}
		for _, list := range r.kinds() {
			for _, resource := range list {
				m, err := resource.Message()
				if err != nil {
					t.Fatal(err)
				}
				messages = append(messages, m)
			}
		}
	}
	for _, m := range messages {
		want := rendered(t, m, 1<<30)
		for _, large := range []int{-1, 0, 10, 100, 1000} {
			if diff := cmp.Diff(want, rendered(t, m, large)); diff != "" {
				t.Errorf("with pieces of more than %d bytes (-whole +pieces):\n%s", large, diff)
			}
		}
	}
}
