// SPDX-License-Identifier: Apache-2.0

package kube

import (
	"fmt"
	"maps"
	"slices"

	securityv1beta1 "istio.io/api/security/v1beta1"

	"github.com/ambient22/ambient22/internal/mesh"
)

// addPeerAuthentications reads who takes connections without mutual TLS.
func (b *builder) addPeerAuthentications(policies []*PeerAuthentication) {
	for _, p := range inOrder(b, KindPeerAuthentication, policies) {
		at := b.about(KindPeerAuthentication, p.Namespace, p.Name)
		selector, ok := at.selector(p.Spec.Selector)
		if !at.policyNames(p.Namespace, p.Name) || !ok {
			continue
		}
		policy := mesh.PeerAuthentication{
			Namespace: p.Namespace,
			Name:      p.Name,
			Created:   p.CreationTimestamp.UTC(),
			Selector:  selector,
			Mode:      mesh.MTLSMode(p.Spec.GetMtls().GetMode()),
			Ports:     at.mtlsPorts(p.Spec.PortLevelMtls),
		}
		if len(policy.Ports) > 0 && len(selector) == 0 {
			at.problem("spec.portLevelMtls", "select the workloads whose ports these are by spec.selector", "ports of a whole namespace have no mode of their own")
			policy.Ports = nil
		}
		b.snapshot.PeerAuthentications = append(b.snapshot.PeerAuthentications, policy)
	}
}

func (at subject) mtlsPorts(modes map[uint32]*securityv1beta1.PeerAuthentication_MutualTLS) map[uint16]mesh.MTLSMode {
	var ports map[uint16]mesh.MTLSMode
	for _, port := range slices.Sorted(maps.Keys(modes)) {
		if port < 1 || port > 65535 {
			at.problem(fmt.Sprintf("spec.portLevelMtls[%d]", port), "write a number from 1 to 65535", "%d is no port", port)
			continue
		}
		if ports == nil {
			ports = map[uint16]mesh.MTLSMode{}
		}
		ports[uint16(port)] = mesh.MTLSMode(modes[port].GetMode())
	}
	return ports
}
