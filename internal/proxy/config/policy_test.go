// SPDX-License-Identifier: Apache-2.0

package config

import (
	"fmt"
	"math/rand/v2"
	"net/netip"
	"path"
	"slices"
	"strings"
	"testing"

	"github.com/ambient22/ambient22/envoyconfig"
	"github.com/ambient22/ambient22/internal/mesh"
	"github.com/ambient22/ambient22/internal/proxy/rbac"
)

// What authorization policies mean, read once more and without Envoy: random
// policies are built into filters and decoded again, and every random connection
// must be let in exactly where this reading lets it in.

// attempt is somebody's try to reach a pod.
type attempt struct {
	namespace, account string // "" without a certificate
	from               netip.Addr
	port               uint16 // as the policy sees it
	sni                string
}

// mayPass is the answer by the definition: what a DENY policy applies to is turned
// away; where there are ALLOW policies, so is what none of them applies to.
func mayPass(s *mesh.Snapshot, pod *mesh.Workload, a *attempt) bool {
	guarded, allowed := false, false
	for i := range s.Policies {
		p := &s.Policies[i]
		if p.DryRun || !concerns(p, pod) {
			continue
		}
		switch p.Action {
		case mesh.Deny:
			if applies(s, p, pod, a) {
				return false
			}
		case mesh.Allow:
			guarded = true
			allowed = allowed || applies(s, p, pod, a)
		}
	}
	return allowed || !guarded
}

func concerns(p *mesh.AuthorizationPolicy, pod *mesh.Workload) bool {
	for k, v := range p.Selector {
		if have, ok := pod.Labels[k]; !ok || have != v {
			return false
		}
	}
	return p.Namespace == mesh.RootNamespace || p.Namespace == pod.Namespace
}

func applies(s *mesh.Snapshot, p *mesh.AuthorizationPolicy, pod *mesh.Workload, a *attempt) bool {
	for i := range p.Rules {
		r := &p.Rules[i]
		if p.Action == mesh.Allow && len(r.Unusable) > 0 {
			continue
		}
		from := func(c mesh.Source) bool { return comesFrom(s, c, a) }
		to := func(c mesh.Operation) bool { return goesTo(c, pod, a) }
		if (len(r.From) == 0 || slices.ContainsFunc(r.From, from)) && (len(r.To) == 0 || slices.ContainsFunc(r.To, to)) &&
			each(r.WhenCaller, from) && each(r.WhenCalled, to) {
			return true
		}
	}
	return false
}

func each[T any](list []T, holds func(T) bool) bool {
	return !slices.ContainsFunc(list, func(v T) bool { return !holds(v) })
}

// listed holds a value's two lists against the attempt.
func listed[T any](values, not []T, fits func(T) bool) bool {
	return (len(values) == 0 || slices.ContainsFunc(values, fits)) && !slices.ContainsFunc(not, fits)
}

func comesFrom(s *mesh.Snapshot, c mesh.Source, a *attempt) bool {
	inBlock := func(b netip.Prefix) bool { return b.Contains(a.from) }
	return listed(c.IPBlocks, c.NotIPBlocks, inBlock) && listed(c.RemoteIPBlocks, c.NotRemoteIPBlocks, inBlock) &&
		listed(c.Principals, c.NotPrincipals, func(pattern string) bool {
			if a.account == "" {
				return false
			}
			if rest, ok := strings.CutPrefix(pattern, "cluster.local/ns/"); ok && !strings.HasSuffix(rest, "*") {
				pattern = s.TrustDomain + "/ns/" + rest
			}
			return wild(pattern, s.TrustDomain+"/ns/"+a.namespace+"/sa/"+a.account)
		}) &&
		listed(c.Namespaces, c.NotNamespaces, func(pattern string) bool {
			ok, _ := path.Match(pattern, a.namespace)
			return ok && a.account != ""
		})
}

func goesTo(c mesh.Operation, pod *mesh.Workload, a *attempt) bool {
	return listed(c.Ports, c.NotPorts, func(p uint16) bool { return p == a.port }) &&
		listed(c.IPBlocks, c.NotIPBlocks, func(b netip.Prefix) bool { return b.Contains(pod.IP) }) &&
		listed(c.SNI, c.NotSNI, func(pattern string) bool { return wild(pattern, a.sni) })
}

// wild knows a star at either end; alone it stands for anything but nothing.
func wild(pattern, text string) bool {
	switch {
	case pattern == "*":
		return text != ""
	case strings.HasPrefix(pattern, "*"):
		return strings.HasSuffix(text, pattern[1:])
	case strings.HasSuffix(pattern, "*"):
		return strings.HasPrefix(text, pattern[:len(pattern)-1])
	}
	return text == pattern
}

// wantsTLS reports whether plain connections to the port are forbidden: the port's
// own word counts first, then the pod's, its namespace's, and the mesh's.
func wantsTLS(s *mesh.Snapshot, pod *mesh.Workload, port uint16) bool {
	var words [4]mesh.MTLSMode
	for i := range s.PeerAuthentications {
		p := &s.PeerAuthentications[i]
		switch {
		case len(p.Selector) > 0:
			if p.Namespace == pod.Namespace && p.Selector["app"] == pod.Labels["app"] {
				words[0], words[1] = p.Ports[port], p.Mode
			}
		case p.Namespace == mesh.RootNamespace:
			words[3] = p.Mode
		case p.Namespace == pod.Namespace:
			words[2] = p.Mode
		}
	}
	for _, w := range words {
		if w != mesh.MTLSUnset {
			return w == mesh.MTLSStrict
		}
	}
	return false
}

// policyMaker makes random policies of few different words, so that they meet.
type policyMaker struct{ *rand.Rand }

func pick[T any](m policyMaker, from ...T) T { return from[m.IntN(len(from))] }

// some is a list with up to two of the words; mostly none.
func some[T any](m policyMaker, from ...T) []T {
	var out []T
	for m.IntN(3) == 0 && len(out) < 2 {
		out = append(out, pick(m, from...))
	}
	return out
}

func repeat[T any](m policyMaker, most int, one func() T) []T {
	var out []T
	for range m.IntN(most + 1) {
		out = append(out, one())
	}
	return out
}

func (m policyMaker) source() mesh.Source {
	principals := []string{"cluster.local/ns/default/sa/a", "example.org/ns/foo/sa/a", "cluster.local/ns/foo/sa/b", "*", "*/sa/a", "example.org/ns/d*", "cluster.local/ns/default*", "*nobody"}
	namespaces := []string{"default", "foo", "f*", "d*t", "*", "bar"}
	blocks := []netip.Prefix{netip.MustParsePrefix("10.4.4.0/24"), netip.MustParsePrefix("10.4.4.19/32"), netip.MustParsePrefix("10.0.0.0/8"), netip.MustParsePrefix("2001:db8::/32")}
	return mesh.Source{
		Principals: some(m, principals...), NotPrincipals: some(m, principals...),
		Namespaces: some(m, namespaces...), NotNamespaces: some(m, namespaces...),
		IPBlocks: some(m, blocks...), NotIPBlocks: some(m, blocks...),
		RemoteIPBlocks: some(m, blocks...), NotRemoteIPBlocks: some(m, blocks...),
	}
}

func (m policyMaker) operation() mesh.Operation {
	ports := []uint16{80, 81, 15008}
	blocks := []netip.Prefix{netip.MustParsePrefix("10.4.3.20/32"), netip.MustParsePrefix("10.9.0.0/16")}
	names := []string{"a.example", "*.example", "a.*", "*"}
	return mesh.Operation{
		Ports: some(m, ports...), NotPorts: some(m, ports...),
		IPBlocks: some(m, blocks...), NotIPBlocks: some(m, blocks...),
		SNI: some(m, names...), NotSNI: some(m, names...),
	}
}

func (m policyMaker) policy(i int) mesh.AuthorizationPolicy {
	p := mesh.AuthorizationPolicy{
		Namespace: pick(m, "default", "default", mesh.RootNamespace, "foo"), Name: fmt.Sprintf("p-%d", i),
		Action: pick(m, mesh.Allow, mesh.Deny, mesh.Audit), DryRun: m.IntN(5) == 0,
	}
	if m.IntN(3) == 0 {
		p.Selector = map[string]string{"app": pick(m, "web", "web", "db")}
	}
	p.Rules = repeat(m, 2, func() mesh.Rule {
		r := mesh.Rule{
			From: repeat(m, 2, m.source), To: repeat(m, 2, m.operation),
			WhenCaller: repeat(m, 1, m.source), WhenCalled: repeat(m, 1, m.operation),
		}
		if m.IntN(6) == 0 {
			r.Unusable = []string{"to[0].operation.methods"}
		}
		return r
	})
	return p
}

// peerAuthentications are at most one for each level and one for other pods.
func (m policyMaker) peerAuthentications() []mesh.PeerAuthentication {
	modes := []mesh.MTLSMode{mesh.MTLSUnset, mesh.MTLSDisable, mesh.MTLSPermissive, mesh.MTLSStrict}
	all := []mesh.PeerAuthentication{
		{Namespace: mesh.RootNamespace, Name: "mesh", Mode: pick(m, modes...)},
		{Namespace: "default", Name: "namespace", Mode: pick(m, modes...)},
		{Namespace: "default", Name: "web", Selector: map[string]string{"app": "web"}, Mode: pick(m, modes...),
			Ports: map[uint16]mesh.MTLSMode{80: pick(m, modes...), 81: pick(m, modes...)}},
		{Namespace: "default", Name: "db", Selector: map[string]string{"app": "db"}, Mode: pick(m, modes...)},
		{Namespace: "foo", Name: "other", Mode: mesh.MTLSStrict},
	}
	return slices.DeleteFunc(all, func(mesh.PeerAuthentication) bool { return m.IntN(2) == 0 })
}

func (m policyMaker) attempt(tunnel bool) *attempt {
	a := &attempt{
		from: pick(m, netip.MustParseAddr("10.4.4.19"), netip.MustParseAddr("10.4.4.20"), netip.MustParseAddr("10.4.5.1"), netip.MustParseAddr("192.168.1.1")),
		port: pick[uint16](m, 80, 81, 82),
	}
	if !tunnel {
		return a
	}
	a.sni = pick(m, "", "a.example", "b.example", "a.test")
	if m.IntN(5) > 0 {
		a.namespace, a.account = pick(m, "default", "foo", "bar"), pick(m, "a", "b")
	}
	return a
}

// guarded are the filters that stand before a pod, of its tunnels and of its plain
// connections.
type guarded struct {
	tunnel, plain *FilterChain
}

func guard(t *testing.T, s *mesh.Snapshot, o envoyconfig.Options, pod *mesh.Workload) guarded {
	t.Helper()
	r, err := envoyconfig.Build(s, o)
	if err != nil {
		t.Fatal(err)
	}
	var g guarded
	for _, l := range r.Listeners {
		if !strings.HasPrefix(l.Name, "ztunnel_inbound") {
			continue
		}
		decoded, err := NewDecoder("sds-grpc").Listener(l.Body())
		if err != nil {
			t.Fatal(err)
		}
		chain := decoded.FindChain(anywhere, netip.AddrPortFrom(pod.IP, 1))
		if decoded.Addr.Port() == 15008 {
			g.tunnel = chain
		} else {
			g.plain = chain
		}
	}
	return g
}

// passes asks the filters that a connection meets, and those that its request does.
func passes(chain *FilterChain, r rbac.Request) bool {
	header := r.Header
	r.Header = nil
	for _, f := range chain.RBAC {
		if f.Rules != nil && !decide(f.Rules, &r) {
			return false
		}
	}
	if chain.HTTP == nil {
		return true
	}
	r.Header = header
	for _, f := range chain.HTTP.RBAC {
		if f.Rules != nil && !decide(f.Rules, &r) {
			return false
		}
	}
	return chain.HTTP.Route.Matches(header)
}

func decide(e *rbac.Engine, r *rbac.Request) bool {
	allowed, _ := e.Decide(r)
	return allowed
}

// request is what the proxy knows of an attempt. In a tunnel the connection goes
// to port 15008 and the request says where it is to go on to.
func (a *attempt) request(s *mesh.Snapshot, pod *mesh.Workload, tunnel bool) rbac.Request {
	target := netip.AddrPortFrom(pod.IP, a.port)
	r := rbac.Request{Local: target, Remote: netip.AddrPortFrom(a.from, 40000), SNI: a.sni}
	if a.account != "" {
		id := mesh.Identity{TrustDomain: s.TrustDomain, Namespace: a.namespace, ServiceAccount: a.account}
		r.Authenticated, r.Names = true, []string{id.String(), ""}
	}
	if tunnel {
		r.Local = netip.AddrPortFrom(pod.IP, 15008)
		r.Header = func(name string) (string, bool) {
			return target.String(), name == DefaultOriginalDstHeader || name == ":authority"
		}
	}
	return r
}

func TestPoliciesMeanWhatTheySay(t *testing.T) {
	rounds := 150
	if testing.Short() {
		rounds = 40
	}
	for _, profile := range []envoyconfig.Profile{envoyconfig.Article, envoyconfig.Hardened} {
		for _, dialect := range []envoyconfig.Dialect{envoyconfig.Istio116, envoyconfig.Upstream} {
			t.Run(fmt.Sprintf("%v in %v", profile, dialect), func(t *testing.T) {
				o := envoyconfig.Options{Node: "a", ProxyID: "z.istio-system", Profile: profile, Dialect: dialect}
				passed, refused := 0, 0
				for seed := range rounds {
					p, r := comparePolicies(t, uint64(seed), o)
					passed, refused = passed+p, refused+r
				}
				t.Logf("%d attempts passed, %d were refused", passed, refused)
				if least := rounds * 4; passed < least || refused < least {
					t.Errorf("of both kinds at least %d are wanted", least)
				}
			})
		}
	}
}

func comparePolicies(t *testing.T, seed uint64, o envoyconfig.Options) (passed, refused int) {
	t.Helper()
	m := policyMaker{rand.New(rand.NewPCG(seed, 22))}
	pod := mesh.Workload{
		UID: "u", Namespace: "default", Name: "web-1", ServiceAccount: "web", Node: "a", IP: netip.MustParseAddr("10.4.3.20"),
		Labels: map[string]string{"app": "web"}, Ready: true, Class: mesh.InMesh,
	}
	s := &mesh.Snapshot{TrustDomain: pick(m, "cluster.local", "example.org"), Nodes: []mesh.Node{{Name: "a"}}, Workloads: []mesh.Workload{pod}}
	for i := range m.IntN(5) {
		s.Policies = append(s.Policies, m.policy(i))
	}
	s.PeerAuthentications = m.peerAuthentications()
	s.Sort()
	g := guard(t, s, o, &pod)
	for range 40 {
		tunnel := m.IntN(2) == 0
		a := m.attempt(tunnel)
		chain := g.plain
		asked := *a
		if tunnel {
			chain = g.tunnel
			if o.Profile == envoyconfig.Article {
				asked.port = 15008 // all that those policies see
			}
		}
		want := mayPass(s, &pod, &asked)
		if !tunnel && o.Profile == envoyconfig.Hardened && wantsTLS(s, &pod, a.port) {
			want = false
		}
		if got := passes(chain, a.request(s, &pod, tunnel)); got != want {
			t.Fatalf("seed %d: %+v (tunnel: %v) passes: %v, by the policies: %v\n%+v\n%+v", seed, a, tunnel, got, want, s.Policies, s.PeerAuthentications)
		}
		if want {
			passed++
		} else {
			refused++
		}
	}
	return passed, refused
}
