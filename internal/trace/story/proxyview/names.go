// SPDX-License-Identifier: Apache-2.0

package proxyview

import (
	"encoding/json"
	"net/netip"
	"slices"
	"strings"

	"github.com/ambient22/ambient22/internal/proxy/config"
	"github.com/ambient22/ambient22/internal/proxy/match"
)

// Names are the pods and services that a ztunnel's configuration names.
type Names struct {
	Pods     []Pod
	Services []Service
}

// Pod is a pod that the configuration names. Name is "" where only its address is
// known.
type Pod struct {
	Namespace, Name, Workload, Account string
	IP                                 netip.Addr
	Local                              bool // on the ztunnel's node
}

// Service is a service that the configuration names.
type Service struct {
	Namespace, Name string
	IP              netip.Addr
	Ports           []uint16
}

// Names finds the names: local pods in the workload metadata and in the inbound
// listener's certificates, services and other pods' addresses in the outbound
// listener's matcher.
func (p *Proxy) Names() Names {
	var n Names
	for name := range p.extensions {
		n.Pods = append(n.Pods, p.metadataPods(p.extensions[name].body)...)
	}
	for _, name := range p.listenerNames {
		if strings.Contains(string(p.listeners[name].body), `"internal_listener"`) {
			continue
		}
		l, err := p.listener(name)
		if err != nil || l == nil {
			continue
		}
		if l.Tree() != nil {
			n.addTree(l.Tree())
		}
		for _, chain := range l.Chains() {
			n.addInbound(chain)
		}
	}
	slices.SortFunc(n.Pods, func(a, b Pod) int { return a.IP.Compare(b.IP) })
	slices.SortFunc(n.Services, func(a, b Service) int { return a.IP.Compare(b.IP) })
	return n
}

// metadataPods reads pods from the JSON of the extension's configuration.
func (p *Proxy) metadataPods(body json.RawMessage) []Pod {
	var e struct {
		TypedConfig struct {
			Resources []struct {
				IPs       []string `json:"ip_addresses"`
				Instance  string   `json:"instance_name"`
				Namespace string   `json:"namespace_name"`
				Workload  string   `json:"workload_name"`
			} `json:"workload_metadata_resources"`
		} `json:"typed_config"`
	}
	if json.Unmarshal(body, &e) != nil {
		return nil
	}
	var list []Pod
	for _, r := range e.TypedConfig.Resources {
		for _, text := range r.IPs {
			if ip, err := netip.ParseAddr(text); err == nil {
				list = append(list, Pod{Namespace: r.Namespace, Name: r.Instance, Workload: r.Workload, IP: ip, Local: true})
			}
		}
	}
	return list
}

// addInbound takes a local pod from its certificate: "IDENTITY~POD~UID".
func (n *Names) addInbound(chain *config.FilterChain) {
	if chain.TLS == nil || len(chain.Prefixes()) == 0 || !chain.Prefixes()[0].IsSingleIP() {
		return
	}
	parts := strings.Split(chain.TLS.Certificate.Name, "~")
	if len(parts) != 3 {
		return
	}
	ns, account := spiffe(parts[0])
	n.Pods = append(n.Pods, Pod{Namespace: ns, Name: parts[1], Account: account, IP: chain.Prefixes()[0].Addr(), Local: true})
}

// spiffe takes namespace and service account from spiffe://DOMAIN/ns/NS/sa/SA.
func spiffe(identity string) (ns, account string) {
	_, rest, ok := strings.Cut(identity, "/ns/")
	if !ok {
		return "", ""
	}
	ns, account, _ = strings.Cut(rest, "/sa/")
	return ns, account
}

// addTree walks the outbound matcher: below each source the destinations are the
// same, so the first will do.
func (n *Names) addTree(root *match.Node) {
	node := root
	for node != nil && node.Input != match.DestinationIP {
		node = next(node)
	}
	if node == nil {
		return
	}
	for ip, out := range node.IPs {
		if out.Next == nil {
			n.Pods = append(n.Pods, Pod{IP: ip})
			continue
		}
		s := Service{IP: ip}
		for port, o := range out.Next.Ports {
			s.Ports = append(s.Ports, port)
			s.Name, s.Namespace = serviceOf(o.Chain)
		}
		slices.Sort(s.Ports)
		n.Services = append(n.Services, s)
	}
}

// next is a level below: that of no match where there is one (the port of the
// listener itself comes first), else any.
func next(n *match.Node) *match.Node {
	if n.NoMatch != nil && n.NoMatch.Next != nil {
		return n.NoMatch.Next
	}
	for _, o := range n.IPs {
		if o.Next != nil {
			return o.Next
		}
	}
	return nil
}

// serviceOf reads the service from a chain's name,
// "IDENTITY_to_PORT_HOST_outbound_internal"; a waypoint's chain names none.
func serviceOf(chain string) (name, ns string) {
	_, rest, ok := strings.Cut(chain, "_to_")
	rest, tail := strings.CutSuffix(rest, "_outbound_internal")
	if !ok || !tail {
		return "", ""
	}
	i := strings.LastIndex(rest, "_")
	labels := strings.Split(rest[i+1:], ".")
	if len(labels) < 2 {
		return rest[i+1:], ""
	}
	return labels[0], labels[1]
}
