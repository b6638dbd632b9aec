// SPDX-License-Identifier: Apache-2.0

package envoyconfig

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"strings"

	clusterv3 "github.com/envoyproxy/go-control-plane/envoy/config/cluster/v3"
	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	endpointv3 "github.com/envoyproxy/go-control-plane/envoy/config/endpoint/v3"
	listenerv3 "github.com/envoyproxy/go-control-plane/envoy/config/listener/v3"
	"google.golang.org/protobuf/proto"
)

// Consistent reports every name that a resource uses and nobody has; see Verify.
// It costs nothing where a Builder made the resources and so vouches for them.
func (r *Resources) Consistent() error {
	if r.Proven() {
		return nil
	}
	return r.Verify()
}

// Verify decodes and validates every resource and reports every name that one uses
// and nobody has: chains of a matcher, clusters, internal listeners, endpoints of
// an EDS cluster, secrets and extensions. Names that the 2022 configuration leaves
// dangling on purpose are no fault. It also reports names used twice and two chains
// for one address, which a proxy refuses.
func (r *Resources) Verify() error {
	c := checker{seen: map[string]bool{}}
	c.listeners = c.names("listener", r.Listeners)
	c.clusters = c.names("cluster", r.Clusters)
	c.endpoints = c.names("endpoints", r.Endpoints)
	c.extensions = c.names("extension", r.Extensions)
	c.learnSecrets(r.Secrets)
	check(&c, "listener", r.Listeners, c.listener)
	check(&c, "cluster", r.Clusters, c.cluster)
	check(&c, "endpoints", r.Endpoints, c.assignment)
	check(&c, "extension", r.Extensions, c.extension)
	slices.SortFunc(c.found, func(a, b error) int { return cmp.Compare(a.Error(), b.Error()) })
	return errors.Join(c.found...)
}

type nameSet map[string]bool

// checker collects what is wrong, with the resource it was found in.
type checker struct {
	listeners, clusters, endpoints, extensions nameSet

	secrets    nameSet
	identities nameSet // that have a certificate on this node

	in    string // the resource under inspection
	found []error
	seen  map[string]bool // wire forms of parts: those of many resources are looked at once
}

func (c *checker) complain(format string, args ...any) {
	c.found = append(c.found, fmt.Errorf("%s: %s", c.in, fmt.Sprintf(format, args...)))
}

// names indexes resources of one kind.
func (c *checker) names(kind string, resources []*Resource) nameSet {
	set := make(nameSet, len(resources))
	for _, r := range resources {
		c.in = kind + " " + quote(r.Name)
		if set[r.Name] {
			c.complain("the name is used twice")
		}
		set[r.Name] = true
	}
	return set
}

func (c *checker) learnSecrets(secrets []SecretName) {
	c.secrets = nameSet{RootCASecret: true}
	c.identities = nameSet{}
	for _, s := range secrets {
		c.in = "secret " + quote(s.Name)
		if c.secrets[s.Name] {
			c.complain("the name is used twice")
		}
		c.secrets[s.Name] = true
		c.identities[s.Identity] = true
	}
}

// check looks at the resources of one kind. Their messages must be of the kind's
// type, valid, and of the name they are served under.
func check[M proto.Message](c *checker, kind string, resources []*Resource, look func(M) (name string)) {
	for _, r := range resources {
		c.in = kind + " " + quote(r.Name)
		m, err := r.Message()
		if err != nil {
			c.complain("%v", err)
			continue
		}
		typed, ok := m.(M)
		if !ok {
			c.complain("is a %T", m)
			continue
		}
		if err := validate(m); err != nil {
			c.complain("%v", err)
		}
		if name := look(typed); name != r.Name {
			c.complain("the message is named %q", name)
		}
	}
}

func (c *checker) listener(l *listenerv3.Listener) string {
	for _, f := range l.ListenerFilters {
		if f.GetConfigDiscovery() != nil && !c.extensions[f.Name] {
			c.complain("listener filter %q: no such extension is served", f.Name)
		}
	}
	chains := make(nameSet, len(l.FilterChains))
	matches := nameSet{}
	for _, chain := range l.FilterChains {
		if chains[chain.Name] {
			c.complain("chain %q: the name is used twice", chain.Name)
		}
		chains[chain.Name] = true
		for _, r := range chain.GetFilterChainMatch().GetPrefixRanges() {
			address := fmt.Sprintf("%s/%d", r.AddressPrefix, r.GetPrefixLen().GetValue())
			if matches[address] {
				c.complain("chain %q: another chain matches %s too", chain.Name, address)
			}
			matches[address] = true
		}
		c.chain(chain)
	}
	if l.DefaultFilterChain != nil {
		c.chain(l.DefaultFilterChain)
	}
	actionNames(l.FilterChainMatcher, func(name string) {
		if !chains[name] {
			c.complain("the matcher names chain %q, which does not exist", name)
		}
	})
	return l.Name
}

func (c *checker) chain(chain *listenerv3.FilterChain) {
	for _, f := range chain.Filters {
		c.part(f.GetTypedConfig())
	}
	c.part(chain.GetTransportSocket().GetTypedConfig())
}

func (c *checker) cluster(cl *clusterv3.Cluster) string {
	if cl.GetType() == clusterv3.Cluster_EDS {
		name := cl.GetEdsClusterConfig().GetServiceName()
		if name == "" {
			name = cl.Name
		}
		if !c.endpoints[name] {
			c.complain("no endpoints %q are served", name)
		}
	}
	c.part(cl.GetTransportSocket().GetTypedConfig())
	for _, m := range cl.TransportSocketMatches {
		c.part(m.GetTransportSocket().GetTypedConfig())
	}
	return cl.Name
}

func (c *checker) assignment(a *endpointv3.ClusterLoadAssignment) string {
	if !c.clusters[a.ClusterName] {
		c.complain("there is no cluster of that name")
	}
	for _, locality := range a.Endpoints {
		for _, e := range locality.LbEndpoints {
			c.address(e.GetEndpoint().GetAddress())
		}
	}
	return a.ClusterName
}

func (c *checker) extension(e *corev3.TypedExtensionConfig) string {
	c.part(e.TypedConfig)
	return e.Name
}

func (c *checker) address(a *corev3.Address) {
	internal := a.GetEnvoyInternalAddress()
	if internal != nil && !c.listeners[internal.GetServerListenerName()] {
		c.complain("endpoint %s leads to internal listener %q, which does not exist", internal.EndpointId, internal.GetServerListenerName())
	}
}

// useCluster checks a reference to a cluster.
func (c *checker) useCluster(name string) {
	if !c.clusters[name] && !c.dangling(name) {
		c.complain("names cluster %q, which does not exist", name)
	}
}

// dangling knows the clusters that are named although nobody serves them: the two
// inbound black holes, the tunnel clusters of identities that have no pod on this
// node, and the one that the bootstrap brings.
func (c *checker) dangling(cluster string) bool {
	switch cluster {
	case BlackHoleInboundChain, BlackHoleInboundPlaintextChain, SDSCluster:
		return true
	}
	identity, ok := strings.CutPrefix(cluster, tunnelClusterPrefix)
	listener := tunnelListenerPrefix + identity
	if !ok {
		identity, ok = strings.CutPrefix(cluster, podLocalTunnelClusterPrefix)
		listener = localTunnelListenerPrefix + identity
	}
	return ok && c.listeners[listener] && !c.identities[identity]
}

func quote(s string) string { return fmt.Sprintf("%q", s) }
