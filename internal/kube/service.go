// SPDX-License-Identifier: Apache-2.0

package kube

import (
	"cmp"
	"errors"
	"fmt"
	"net/netip"
	"slices"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	"k8s.io/apimachinery/pkg/util/validation"

	"github.com/ambient22/ambient22/internal/mesh"
)

func (b *builder) addServices(services []*corev1.Service, endpointSlices []*discoveryv1.EndpointSlice) {
	services = inOrder(b, KindService, services)
	endpoints := b.collectEndpoints(endpointSlices)
	owners := make(map[netip.Addr]Ref, len(services))
	for _, s := range oldestFirst(services) {
		if s.Spec.Type == corev1.ServiceTypeExternalName {
			continue // a name for something else, with neither address nor endpoints
		}
		at := b.about(KindService, s.Namespace, s.Name)
		named := at.validName("metadata.name", s.Name, validation.IsDNS1123Label)
		if !at.validName("metadata.namespace", s.Namespace, validation.IsDNS1123Label) || !named {
			continue
		}
		vip, ok := at.vip(s)
		if !ok || !at.claim(owners, vip) {
			continue
		}
		ports := at.servicePorts(s, endpoints[serviceKey{s.Namespace, s.Name}])
		b.snapshot.Services = append(b.snapshot.Services, mesh.Service{
			Namespace: s.Namespace, Name: s.Name, VIP: vip, Selector: s.Spec.Selector, Ports: ports,
		})
	}
}

func oldestFirst(services []*corev1.Service) []*corev1.Service {
	return slices.SortedFunc(slices.Values(services), func(a, b *corev1.Service) int {
		return cmp.Or(a.CreationTimestamp.Compare(b.CreationTimestamp.Time),
			cmp.Compare(a.Namespace, b.Namespace), cmp.Compare(a.Name, b.Name))
	})
}

// vip is the service's IPv4 address, zero for a headless service. ok is false
// where the service can't be used.
func (at subject) vip(s *corev1.Service) (vip netip.Addr, ok bool) {
	field, texts := "spec.clusterIP", []string{s.Spec.ClusterIP}
	if len(s.Spec.ClusterIPs) > 0 {
		field, texts = "spec.clusterIPs", s.Spec.ClusterIPs
	}
	if texts[0] == corev1.ClusterIPNone {
		return vip, true
	}
	if texts[0] == "" {
		at.problem(field, "write the address that the API server gave it, or None for a headless service", "it is empty")
		return vip, false
	}
	for _, text := range texts {
		ip, err := parseIPv4(text)
		switch {
		case errors.Is(err, errIPv6) && len(texts) > 1: // the other half of a dual-stack service
		case err != nil:
			at.problem(field, "write the service's IPv4 address", "%q %v", text, err)
			return vip, false
		default:
			vip = ip
		}
	}
	return vip, vip.IsValid()
}

// claim gives an address to one service only. The oldest had it first.
func (at subject) claim(owners map[netip.Addr]Ref, vip netip.Addr) bool {
	if !vip.IsValid() {
		return true
	}
	other, taken := owners[vip]
	if !taken {
		other, taken = at.b.addresses[vip]
	}
	if node, isNode := at.b.nodeIPs[vip]; isNode && !taken {
		other, taken = Ref{Kind: KindNode, Name: node}, true
	}
	if taken {
		at.problem("spec.clusterIP", "give the service an address of its own", "%s is the address of %s too", vip, other)
		return false
	}
	owners[vip] = at.ref
	return true
}

// servicePorts are the TCP ports, by number, with their endpoints.
func (at subject) servicePorts(s *corev1.Service, endpoints portEndpoints) []mesh.ServicePort {
	var ports []mesh.ServicePort
	names, numbers := map[string]bool{}, map[int32]bool{}
	for i, p := range s.Spec.Ports {
		if protocol := cmp.Or(p.Protocol, corev1.ProtocolTCP); protocol != corev1.ProtocolTCP {
			continue
		}
		field := fmt.Sprintf("spec.ports[%d]", i)
		switch {
		case p.Port < 1 || p.Port > 65535:
			at.problem(field+".port", "", "%d is no port", p.Port)
			continue
		case numbers[p.Port]:
			at.problem(field+".port", "keep one of them", "port %d is there twice", p.Port)
			continue
		case p.Name == "" && len(s.Spec.Ports) > 1:
			at.problem(field+".name", "name every port of a service that has several", "it is empty")
			continue
		case p.Name != "" && !at.validName(field+".name", p.Name, validation.IsDNS1123Label):
			continue
		case names[p.Name]:
			at.problem(field+".name", "give each port its own", "the name %q is there twice", p.Name)
			continue
		}
		names[p.Name], numbers[p.Port] = true, true
		ports = append(ports, mesh.ServicePort{Name: p.Name, Number: uint16(p.Port), Endpoints: endpoints[p.Name]})
	}
	slices.SortFunc(ports, func(a, b mesh.ServicePort) int { return cmp.Compare(a.Number, b.Number) })
	return ports
}
