// SPDX-License-Identifier: Apache-2.0

package kube

import (
	"cmp"
	"fmt"
	"slices"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"

	"github.com/ambient22/ambient22/internal/mesh"
)

type serviceKey struct{ namespace, name string }

// portEndpoints are a service's endpoints by the name of its port; a slice's
// ports are matched by name, and carry the target port already resolved.
type portEndpoints map[string][]mesh.Endpoint

// collectEndpoints merges all slices of each service.
func (b *builder) collectEndpoints(all []*discoveryv1.EndpointSlice) map[serviceKey]portEndpoints {
	all = inOrder(b, KindEndpointSlice, all)
	services := map[serviceKey]portEndpoints{}
	for _, s := range all {
		service := s.Labels[discoveryv1.LabelServiceName]
		if service == "" || s.AddressType != discoveryv1.AddressTypeIPv4 {
			continue // nobody's, or the IPv6 half of a dual-stack service
		}
		key := serviceKey{s.Namespace, service}
		if services[key] == nil {
			services[key] = portEndpoints{}
		}
		b.about(KindEndpointSlice, s.Namespace, s.Name).addSlice(services[key], s)
	}
	for _, ports := range services {
		for name, endpoints := range ports {
			ports[name] = sortedOnce(endpoints)
		}
	}
	return services
}

// addSlice adds the ready endpoints of one slice. A port without a number stands
// for all ports, which a service can't use.
func (at subject) addSlice(ports portEndpoints, s *discoveryv1.EndpointSlice) {
	for i, e := range s.Endpoints {
		if e.Conditions.Ready != nil && !*e.Conditions.Ready {
			continue
		}
		for j, text := range e.Addresses {
			ip, err := parseIPv4(text)
			if err != nil {
				at.problem(fmt.Sprintf("endpoints[%d].addresses[%d]", i, j), "write the endpoint's IPv4 address", "%q %v", text, err)
				continue
			}
			for k, p := range s.Ports {
				if p.Port == nil || p.Protocol != nil && *p.Protocol != corev1.ProtocolTCP {
					continue
				}
				if *p.Port < 1 || *p.Port > 65535 {
					if i == 0 && j == 0 { // once per slice
						at.problem(fmt.Sprintf("ports[%d].port", k), "", "%d is no port", *p.Port)
					}
					continue
				}
				name := ""
				if p.Name != nil {
					name = *p.Name
				}
				ports[name] = append(ports[name], mesh.Endpoint{IP: ip, Port: uint16(*p.Port)})
			}
		}
	}
}

// sortedOnce sorts endpoints and drops repeated ones: while an endpoint moves
// between slices it may stand in both.
func sortedOnce(endpoints []mesh.Endpoint) []mesh.Endpoint {
	slices.SortFunc(endpoints, func(a, b mesh.Endpoint) int {
		return cmp.Or(a.IP.Compare(b.IP), cmp.Compare(a.Port, b.Port))
	})
	return slices.Compact(endpoints)
}
