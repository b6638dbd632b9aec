// SPDX-License-Identifier: Apache-2.0

package envoyconfig_test

import (
	"math/rand/v2"
	"net/netip"
	"path"
	"slices"
	"strings"
	"testing"

	"github.com/ambient22/ambient22/envoyconfig"
	"github.com/ambient22/ambient22/internal/mesh"
	"github.com/ambient22/ambient22/internal/proxy/config"
	"github.com/ambient22/ambient22/internal/proxy/rbac"
)

// call is a connection to a pod, as a policy speaks of it.
type call struct {
	principal string // "" in plain connections
	from, to  netip.AddrPort
}

// TestMeaning asks the filters of random policies about random calls, and wants
// the answers that the policies themselves give.
func TestMeaning(t *testing.T) {
	random := rand.New(rand.NewPCG(22, 9))
	allowed := 0
	const rounds, calls = 150, 40
	for range rounds {
		s := withBase(t, "testdata/rbac/none.yaml")
		web := &s.Workloads[0]
		s.Policies = nil
		for i := range random.IntN(5) {
			s.Policies = append(s.Policies, drawPolicy(random, "p"+string(rune('a'+i))))
		}
		s.Sort()
		article, hardened := judges(t, s, web, envoyconfig.Article), judges(t, s, web, envoyconfig.Hardened)
		for range calls {
			c := drawCall(random, web.IP)
			plain := c
			plain.principal = ""
			tunnel := c
			tunnel.to = netip.AddrPortFrom(web.IP, envoyconfig.InboundPort)
			for name, one := range map[string]struct {
				got, want bool
			}{
				"a plain connection":            {decide(article.connections, plain, nil), admits(s.PoliciesOf(web), plain)},
				"a tunnel":                      {decide(article.tunnels, tunnel, nil), admits(s.PoliciesOf(web), tunnel)},
				"a request in a tunnel":         {decide(hardened.requests, tunnel, target(c)), admits(s.PoliciesOf(web), c)},
				"a plain connection (hardened)": {decide(hardened.connections, plain, nil), admits(s.PoliciesOf(web), plain)},
			} {
				if one.got != one.want {
					t.Fatalf("%s of %+v: admitted %v, want %v; policies %+v", name, c, one.got, one.want, s.Policies)
				}
				if one.got {
					allowed++
				}
			}
		}
	}
	if all := rounds * calls * 4; allowed < all/5 || allowed > all*4/5 {
		t.Errorf("%d of %d calls are allowed: the policies decide too little", allowed, all)
	}
}

// admits is what policies mean: what a DENY applies to does not get in; where there
// is an ALLOW, only what one applies to does.
func admits(policies []*mesh.AuthorizationPolicy, c call) bool {
	guarded, admitted := false, false
	for _, p := range policies {
		if p.DryRun || p.Action == mesh.Audit {
			continue
		}
		applies := slices.ContainsFunc(p.Rules, func(r mesh.Rule) bool {
			return (p.Action == mesh.Deny || len(r.Unusable) == 0) && applies(&r, c)
		})
		if p.Action == mesh.Deny && applies {
			return false
		}
		guarded = guarded || p.Action == mesh.Allow
		admitted = admitted || p.Action == mesh.Allow && applies
	}
	return admitted || !guarded
}

func applies(r *mesh.Rule, c call) bool {
	caller := func(s mesh.Source) bool { return calledBy(s, c) }
	called := func(o mesh.Operation) bool { return calls(o, c) }
	return (len(r.From) == 0 || slices.ContainsFunc(r.From, caller)) &&
		(len(r.To) == 0 || slices.ContainsFunc(r.To, called)) &&
		!slices.ContainsFunc(r.WhenCaller, func(s mesh.Source) bool { return !caller(s) }) &&
		!slices.ContainsFunc(r.WhenCalled, func(o mesh.Operation) bool { return !called(o) })
}

func calledBy(s mesh.Source, c call) bool {
	identity := func(pattern string) bool { return c.principal != "" && like(pattern, c.principal) }
	namespace := func(pattern string) bool {
		parts := strings.Split(c.principal, "/")
		ok := false
		if len(parts) > 2 {
			ok, _ = path.Match(pattern, parts[2])
		}
		return ok
	}
	address := func(block netip.Prefix) bool { return block.Contains(c.from.Addr()) }
	return asked(s.Principals, s.NotPrincipals, identity) && asked(s.Namespaces, s.NotNamespaces, namespace) &&
		asked(s.IPBlocks, s.NotIPBlocks, address) && asked(s.RemoteIPBlocks, s.NotRemoteIPBlocks, address)
}

func calls(o mesh.Operation, c call) bool {
	port := func(p uint16) bool { return p == c.to.Port() }
	address := func(block netip.Prefix) bool { return block.Contains(c.to.Addr()) }
	return asked(o.Ports, o.NotPorts, port) && asked(o.IPBlocks, o.NotIPBlocks, address)
}

// asked is any of the values, if there are any, and none of the others.
func asked[T any](values, not []T, fits func(T) bool) bool {
	return (len(values) == 0 || slices.ContainsFunc(values, fits)) && !slices.ContainsFunc(not, fits)
}

// like knows "*" at one end.
func like(pattern, value string) bool {
	if suffix, ok := strings.CutPrefix(pattern, "*"); ok {
		return strings.HasSuffix(value, suffix)
	}
	if prefix, ok := strings.CutSuffix(pattern, "*"); ok {
		return strings.HasPrefix(value, prefix)
	}
	return pattern == value
}

// judged are the filters in front of a pod, as the embedded proxy reads them.
type judged struct{ connections, tunnels, requests []*rbac.Filter }

func judges(t *testing.T, s *mesh.Snapshot, w *mesh.Workload, p envoyconfig.Profile) judged {
	t.Helper()
	r, err := envoyconfig.Build(s, envoyconfig.Options{Node: w.Node, Profile: p})
	if err != nil {
		t.Fatal(err)
	}
	var all judged
	for _, resource := range r.Listeners {
		l, err := config.NewDecoder(envoyconfig.SDSCluster).Listener(resource.Body())
		if err != nil {
			t.Fatal(err)
		}
		chain := l.FindChain(netip.AddrPort{}, netip.AddrPortFrom(w.IP, 80))
		switch resource.Name {
		case envoyconfig.InboundListener:
			all.tunnels, all.requests = chain.RBAC, chain.HTTP.RBAC
		case envoyconfig.InboundPlaintextListener:
			all.connections = chain.RBAC
		}
	}
	return all
}

func decide(filters []*rbac.Filter, c call, header func(string) (string, bool)) bool {
	r := &rbac.Request{Local: c.to, Remote: c.from, Header: header}
	if c.principal != "" {
		r.Authenticated, r.Names = true, []string{"spiffe://" + c.principal}
	}
	for _, f := range filters {
		if f.Rules == nil {
			continue
		}
		if allowed, _ := f.Rules.Decide(r); !allowed {
			return false
		}
	}
	return true
}

func target(c call) func(string) (string, bool) {
	return func(name string) (string, bool) {
		return c.to.String(), name == "x-envoy-original-dst-host"
	}
}

func drawCall(random *rand.Rand, pod netip.Addr) call {
	return call{
		principal: oneOf(random, "cluster.local/ns/a/sa/x", "cluster.local/ns/a/sa/y", "cluster.local/ns/b/sa/x", "other/ns/b-test/sa/z"),
		from:      netip.AddrPortFrom(oneOf(random, netip.MustParseAddr("10.4.4.19"), netip.MustParseAddr("10.4.5.19"), netip.MustParseAddr("10.9.9.9")), 40000),
		to:        netip.AddrPortFrom(pod, oneOf(random, uint16(80), 81, 9080)),
	}
}

func drawPolicy(random *rand.Rand, name string) mesh.AuthorizationPolicy {
	p := mesh.AuthorizationPolicy{
		Namespace: oneOf(random, "shop", mesh.RootNamespace),
		Name:      name,
		Action:    oneOf(random, mesh.Allow, mesh.Allow, mesh.Deny, mesh.Audit),
		DryRun:    random.IntN(6) == 0,
	}
	for range random.IntN(4) {
		p.Rules = append(p.Rules, drawRule(random))
	}
	return p
}

func drawRule(random *rand.Rand) mesh.Rule {
	var r mesh.Rule
	for range random.IntN(3) {
		r.From = append(r.From, drawSource(random))
	}
	for range random.IntN(3) {
		r.To = append(r.To, drawOperation(random))
	}
	if random.IntN(3) == 0 {
		r.WhenCaller = append(r.WhenCaller, drawSource(random))
	}
	if random.IntN(3) == 0 {
		r.WhenCalled = append(r.WhenCalled, drawOperation(random))
	}
	if random.IntN(8) == 0 {
		r.Unusable = []string{"to[0].operation.methods"}
	}
	return r
}

func drawSource(random *rand.Rand) mesh.Source {
	principals := []string{"cluster.local/ns/a/sa/x", "cluster.local/ns/b/sa/*", "*/sa/x", "*", "other/*"}
	namespaces := []string{"a", "b", "b*", "*test", "*", "b-*t"}
	blocks := []netip.Prefix{netip.MustParsePrefix("10.4.4.19/32"), netip.MustParsePrefix("10.4.0.1/16"), netip.MustParsePrefix("2001:db8::/32")}
	return mesh.Source{
		Principals: some(random, principals), NotPrincipals: some(random, principals),
		Namespaces: some(random, namespaces), NotNamespaces: some(random, namespaces),
		IPBlocks: some(random, blocks), NotIPBlocks: some(random, blocks),
		RemoteIPBlocks: some(random, blocks), NotRemoteIPBlocks: some(random, blocks),
	}
}

func drawOperation(random *rand.Rand) mesh.Operation {
	ports := []uint16{80, 81, 9080, envoyconfig.InboundPort}
	blocks := []netip.Prefix{netip.MustParsePrefix("10.4.3.20/32"), netip.MustParsePrefix("10.4.4.0/24")}
	return mesh.Operation{
		Ports: some(random, ports), NotPorts: some(random, ports),
		IPBlocks: some(random, blocks), NotIPBlocks: some(random, blocks),
	}
}

// some are mostly none of the values.
func some[T any](random *rand.Rand, values []T) []T {
	if random.IntN(4) != 0 {
		return nil
	}
	return []T{oneOf(random, values...), oneOf(random, values...)}
}

func oneOf[T any](random *rand.Rand, values ...T) T { return values[random.IntN(len(values))] }
