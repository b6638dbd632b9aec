// SPDX-License-Identifier: Apache-2.0

package wire_test

import (
	"bytes"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	xdscorev3 "github.com/cncf/xds/go/xds/core/v3"
	matcherv3 "github.com/cncf/xds/go/xds/type/matcher/v3"
	clusterv3 "github.com/envoyproxy/go-control-plane/envoy/config/cluster/v3"
	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	listenerv3 "github.com/envoyproxy/go-control-plane/envoy/config/listener/v3"
	tcpproxyv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/network/tcp_proxy/v3"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/anypb"
	"google.golang.org/protobuf/types/known/structpb"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"github.com/ambient22/ambient22/envoyconfig/internal/wire"
)

// chain is a filter chain as a listener holds it, with a long part that never
// differs and a name that stands in four places, once below an Any.
func chain(t testing.TB, name, cluster string) *listenerv3.Listener {
	proxy := packed(t, &tcpproxyv3.TcpProxy{
		StatPrefix:       name,
		ClusterSpecifier: &tcpproxyv3.TcpProxy_Cluster{Cluster: "to_" + cluster + "_and_" + name},
		TunnelingConfig: &tcpproxyv3.TcpProxy_TunnelingConfig{
			Hostname: strings.Repeat("%DOWNSTREAM_LOCAL_ADDRESS%", 30),
		},
	})
	return &listenerv3.Listener{FilterChains: []*listenerv3.FilterChain{{
		Name: name,
		Filters: []*listenerv3.Filter{{
			Name:       "envoy.filters.network.tcp_proxy",
			ConfigType: &listenerv3.Filter_TypedConfig{TypedConfig: proxy},
		}},
	}}}
}

// entry is one branch of a matcher: its key, a name and again that name in an Any.
func entry(t testing.TB, key, name string) *matcherv3.Matcher_MatcherTree_MatchMap {
	return &matcherv3.Matcher_MatcherTree_MatchMap{Map: map[string]*matcherv3.Matcher_OnMatch{
		key: {OnMatch: &matcherv3.Matcher_OnMatch_Action{Action: &xdscorev3.TypedExtensionConfig{
			Name: name, TypedConfig: packed(t, wrapperspb.String(name)),
		}}},
	}}
}

// metadata has maps in maps, with holes among the values only.
func metadata(address, port string) *corev3.Metadata {
	text := structpb.NewStringValue
	return &corev3.Metadata{FilterMetadata: map[string]*structpb.Struct{
		"a": {Fields: map[string]*structpb.Value{"protocol": text("h2")}},
		"b": {Fields: map[string]*structpb.Value{"address": text(address), "both": text(address + ":" + port), "port": text(port)}},
	}}
}

func packed(t testing.TB, m proto.Message) *anypb.Any {
	t.Helper()
	a := &anypb.Any{}
	if err := anypb.MarshalFrom(a, m, proto.MarshalOptions{Deterministic: true}); err != nil {
		t.Fatal(err)
	}
	return a
}

func compile(t testing.TB, m proto.Message) *wire.Template {
	t.Helper()
	template, err := wire.Compile(m)
	if err != nil {
		t.Fatal(err)
	}
	return template
}

func marshal(t testing.TB, m proto.Message) []byte {
	t.Helper()
	b, err := proto.MarshalOptions{Deterministic: true}.Marshal(m)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func finish(t testing.TB, w *wire.Writer) []wire.Parts {
	t.Helper()
	pieces, err := w.Finish()
	if err != nil {
		t.Fatal(err)
	}
	return pieces
}

// randomText has a length near a place where a length prefix grows, or any.
func randomText(random *rand.Rand) string {
	lengths := []int{1, 2, 40, 126, 127, 128, 129, 16382, 16383, 16384, 16385, 1 + random.IntN(300), 1 + random.IntN(20000)}
	letters := []rune("abcdefghijklmnopqrstuvwxyz-/._\u00e4\u4e2d")
	n := lengths[random.IntN(len(lengths))]
	var text strings.Builder
	for text.Len() < n {
		text.WriteRune(letters[random.IntN(len(letters))])
	}
	return text.String()
}

// TestTemplate writes templates of several forms with random strings: what comes
// out is what the typed message marshals to.
func TestTemplate(t *testing.T) {
	for name, build := range map[string]func(a, b string) proto.Message{
		"chain":    func(a, b string) proto.Message { return chain(t, a, b) },
		"entry":    func(a, b string) proto.Message { return entry(t, a, b) },
		"metadata": func(a, b string) proto.Message { return metadata(a, b) },
		"cluster": func(a, b string) proto.Message {
			return &clusterv3.Cluster{Name: a, AltStatName: b, LbPolicy: clusterv3.Cluster_CLUSTER_PROVIDED}
		},
	} {
		t.Run(name, func(t *testing.T) {
			template := compile(t, build(wire.Hole(0), wire.Hole(1)))
			random := rand.New(rand.NewPCG(1, 22))
			var w wire.Writer
			var want [][]byte
			for range 400 {
				a, b := randomText(random), randomText(random)
				template.Write(&w, a, b)
				w.Cut()
				want = append(want, marshal(t, build(a, b)))
			}
			for i, p := range finish(t, &w) {
				got := bytes.Join(p.Bytes, nil)
				if !bytes.Equal(got, want[i]) || p.Size != len(got) {
					t.Fatalf("message %d: %d bytes (size %d), want %d:\n%q\n%q", i, len(got), p.Size, len(want[i]), got, want[i])
				}
			}
		})
	}
}

// TestSplice puts a random number of chains and branches into a listener whose own
// fields come before, between and after them.
func TestSplice(t *testing.T) {
	frame := func(name string, chains []*listenerv3.FilterChain, branches map[string]*matcherv3.Matcher_OnMatch) *listenerv3.Listener {
		return &listenerv3.Listener{
			Name:               name,
			FilterChains:       slices.Concat([]*listenerv3.FilterChain{{Name: "first"}}, chains, []*listenerv3.FilterChain{{Name: "last"}}),
			DefaultFilterChain: &listenerv3.FilterChain{Name: name + " default"},
			FilterChainMatcher: &matcherv3.Matcher{MatcherType: &matcherv3.Matcher_MatcherTree_{MatcherTree: &matcherv3.Matcher_MatcherTree{
				TreeType: &matcherv3.Matcher_MatcherTree_ExactMatchMap{ExactMatchMap: &matcherv3.Matcher_MatcherTree_MatchMap{Map: branches}},
			}}},
		}
	}
	template := compile(t, frame(wire.Hole(0), []*listenerv3.FilterChain{{Name: wire.Splice(0)}},
		map[string]*matcherv3.Matcher_OnMatch{wire.Splice(1): {}}))
	branch := compile(t, entry(t, wire.Hole(0), wire.Hole(1)))
	link := compile(t, chain(t, wire.Hole(0), wire.Hole(1)))
	random := rand.New(rand.NewPCG(2, 22))
	for range 60 {
		var chains []*listenerv3.FilterChain
		branches := map[string]*matcherv3.Matcher_OnMatch{}
		var inner wire.Writer
		for range random.IntN(5) {
			name, cluster := randomText(random), randomText(random)
			chains = append(chains, chain(t, name, cluster).FilterChains...)
			link.Write(&inner, name, cluster)
			inner.Cut()
		}
		splices := [][]wire.Parts{finish(t, &inner), nil}
		for _, key := range []string{"1", "2", "3"} {
			name := randomText(random)
			branches[key] = entry(t, key, name).Map[key]
			branch.Write(&inner, key, name)
			splices[1] = append(splices[1], finish(t, &inner)...)
		}
		name := randomText(random)
		template.WriteAround(&inner, splices, name)
		got := bytes.Join(finish(t, &inner)[0].Bytes, nil)
		if want := marshal(t, frame(name, chains, branches)); !bytes.Equal(got, want) {
			t.Fatalf("%d chains: %d bytes, want %d", len(chains), len(got), len(want))
		}
	}
}

// TestShared wants the long part of all chains to be one piece of memory.
func TestShared(t *testing.T) {
	template := compile(t, chain(t, wire.Hole(0), wire.Hole(1)))
	var w wire.Writer
	template.Write(&w, "a", "b")
	template.Write(&w, "c", "d")
	p := finish(t, &w)[0]
	if len(p.Bytes) != 5 || &p.Bytes[1][0] != &p.Bytes[3][0] {
		t.Errorf("%d parts", len(p.Bytes))
	}
}

// TestDigest is about which pieces have one digest: those with equal content,
// whoever wrote them and whatever was written beside them.
func TestDigest(t *testing.T) {
	template := compile(t, chain(t, wire.Hole(0), wire.Hole(1)))
	var w wire.Writer
	write := func(texts ...string) wire.Digest {
		template.Write(&w, texts...)
		return finish(t, &w)[0].Digest
	}
	a := write("a", "b")
	if write("a", "c") == a || write("ab", "b") == a {
		t.Error("different strings give one digest")
	}
	w = wire.Writer{}
	template.Write(&w, "x", "y")
	w.Cut()
	compile(t, chain(t, wire.Hole(0), wire.Hole(1))).Write(&w, "a", "b")
	w.Cut()
	w.Cut()
	pieces := finish(t, &w)
	if len(pieces) != 3 || pieces[1].Digest != a {
		t.Errorf("of %d pieces, the second has the digest %x, want %x", len(pieces), pieces[1].Digest, a)
	}
	w.Refer(&pieces[0])
	w.Refer(&pieces[1])
	both := finish(t, &w)[0]
	w.Refer(&pieces[1])
	w.Refer(&pieces[0])
	if swapped := finish(t, &w)[0]; swapped.Digest == both.Digest || swapped.Size != both.Size {
		t.Error("the order does not show in the digest")
	}
}

// TestRefusals are messages that can't be compiled, and arguments that can't be
// written.
func TestRefusals(t *testing.T) {
	fields := func(names ...string) *corev3.Metadata {
		m := &corev3.Metadata{FilterMetadata: map[string]*structpb.Struct{}}
		for _, name := range names {
			m.FilterMetadata[name] = &structpb.Struct{}
		}
		return m
	}
	for name, c := range map[string]struct {
		m    proto.Message
		want string
	}{
		"key among others":    {fields(wire.Hole(0), "other"), "depend on its key"},
		"splice among others": {fields(wire.Splice(0), "other"), "depend on its key"},
		"a gap":               {fields(wire.Hole(1)), "no hole 0"},
		"a gap in splices":    {fields(wire.Splice(1)), "no splice 0"},
		"splice in a text":    {fields("x" + wire.Splice(0)), "only a part"},
		"splice of the whole": {&listenerv3.FilterChain{Name: wire.Splice(0)}, "the whole of it"},
		"half a mark":         {fields(wire.Hole(0)[:4]), "no hole and no splice"},
		"bytes":               {wrapperspb.Bytes([]byte(wire.Hole(0))), "is no string"},
		"unknown Any":         {&anypb.Any{TypeUrl: "type.googleapis.com/nobody.Knows", Value: []byte(wire.Hole(0))}, "looking into an Any"},
	} {
		t.Run(name, func(t *testing.T) {
			if _, err := wire.Compile(c.m); err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("error %v, want %q", err, c.want)
			}
		})
	}
	template := compile(t, fields(wire.Hole(0)))
	for _, arguments := range [][]string{{""}, {"\xff"}, {}, {"a", "b"}} {
		var w wire.Writer
		template.Write(&w, arguments...)
		template.Write(&w, "right")
		if _, err := w.Finish(); err == nil {
			t.Errorf("arguments %q are taken", arguments)
		}
		template.Write(&w, "right")
		if _, err := w.Finish(); err != nil {
			t.Errorf("after an error, the writer still fails: %v", err)
		}
	}
}
