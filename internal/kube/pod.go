// SPDX-License-Identifier: Apache-2.0

package kube

import (
	"cmp"
	"errors"
	"fmt"
	"net/netip"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/validation"

	"github.com/ambient22/ambient22/internal/mesh"
)

func (b *builder) addPods(pods []*corev1.Pod) {
	pods = inOrder(b, KindPod, pods)
	for _, p := range pods {
		at := b.about(KindPod, p.Namespace, p.Name)
		w, why := at.workload(p)
		if why != "" {
			b.leaveOut(p, why)
			continue
		}
		b.snapshot.Workloads = append(b.snapshot.Workloads, w)
	}
	b.settleDuplicates()
}

func (b *builder) leaveOut(p *corev1.Pod, why string) {
	b.snapshot.LeftOut = append(b.snapshot.LeftOut, mesh.LeftOut{
		UID: string(p.UID), Namespace: p.Namespace, Name: p.Name, Node: p.Spec.NodeName, Why: why,
	})
}

// workload describes a running pod. why says why there is nothing to describe.
func (at subject) workload(p *corev1.Pod) (w mesh.Workload, why string) {
	account := cmp.Or(p.Spec.ServiceAccountName, "default")
	if why := at.usable(p, account); why != "" {
		return w, why
	}
	c, notEnrolled := class(p, at.namespaceOf(p))
	ip, why := at.podIP(p, c)
	if why != "" {
		return w, why
	}
	return mesh.Workload{
		UID:            string(p.UID),
		Namespace:      p.Namespace,
		Name:           p.Name,
		ServiceAccount: account,
		Node:           p.Spec.NodeName,
		IP:             ip,
		HostNetwork:    p.Spec.HostNetwork,
		Labels:         p.Labels,
		Containers:     containers(p),
		Owner:          owner(p),
		Created:        p.CreationTimestamp.UTC(),
		Ready:          ready(p),
		Terminating:    p.DeletionTimestamp != nil,
		DNSCapture:     c == mesh.Ztunnel && dnsCapture(p),
		Class:          c,
		NotEnrolled:    notEnrolled,
	}, ""
}

// usable checks everything but the address.
func (at subject) usable(p *corev1.Pod, account string) (why string) {
	named := at.validName("metadata.name", p.Name, validation.IsDNS1123Subdomain)
	named = at.validName("metadata.namespace", p.Namespace, validation.IsDNS1123Label) && named
	named = at.validName("spec.serviceAccountName", account, validation.IsDNS1123Subdomain) && named
	switch {
	case !named:
		return "its names are not valid"
	case p.Status.Phase == "":
		at.problem("status.phase", "write the pod as the API server shows it, with its status", "it is empty, so nobody knows whether the pod runs")
		return "its phase is unknown"
	case p.Status.Phase != corev1.PodRunning:
		return fmt.Sprintf("it is %s, not Running", p.Status.Phase)
	case p.UID == "":
		at.problem("metadata.uid", "write the pod's UID; any unique one does where no API server gave it", "a running pod has one")
		return "it has no UID"
	case p.Spec.NodeName == "":
		at.problem("spec.nodeName", "write the node it runs on", "a running pod has one")
		return "it has no node"
	case !at.b.nodes[p.Spec.NodeName]:
		at.problem("spec.nodeName", "add the Node, or write the name of one that is there", "there is no node %q", p.Spec.NodeName)
		return fmt.Sprintf("its node %q is unknown", p.Spec.NodeName)
	}
	return ""
}

// podIP is the pod's address. A pod of the mesh that has an IPv6 address is
// refused even where it has an IPv4 one too: half of its traffic would go past
// the mesh. Outside the mesh a second address does no harm.
func (at subject) podIP(p *corev1.Pod, c mesh.Class) (ip netip.Addr, why string) {
	addresses := podAddresses(p)
	if len(addresses) == 0 {
		return ip, "it has no address yet"
	}
	for _, a := range addresses {
		candidate, err := parseIPv4(a.text)
		switch {
		case errors.Is(err, errIPv6) && c == mesh.Outside:
		case err != nil:
			at.problem(a.field, "write the pod's IPv4 address", "%q %v", a.text, err)
			return ip, fmt.Sprintf("its address %q %v", a.text, err)
		case ip.IsValid() && ip != candidate:
			at.problem(a.field, "status.podIP and status.podIPs[0] are one address", "%s is a second IPv4 address beside %s", candidate, ip)
			return ip, fmt.Sprintf("it has two IPv4 addresses, %s and %s", ip, candidate)
		default:
			ip = candidate
		}
	}
	if !ip.IsValid() {
		return ip, "it has no IPv4 address"
	}
	if node, taken := at.b.nodeIPs[ip]; taken && !p.Spec.HostNetwork {
		at.problem("status.podIP", "write the pod's own address, or spec.hostNetwork: true", "%s is the address of node %s", ip, node)
		return ip, fmt.Sprintf("its address %s is that of node %s", ip, node)
	}
	return ip, ""
}

type fieldText struct{ field, text string }

// podAddresses are the pod's addresses with the fields they stand in.
func podAddresses(p *corev1.Pod) []fieldText {
	var all []fieldText
	if p.Status.PodIP != "" {
		all = append(all, fieldText{"status.podIP", p.Status.PodIP})
	}
	for i, a := range p.Status.PodIPs {
		if a.IP != p.Status.PodIP {
			all = append(all, fieldText{fmt.Sprintf("status.podIPs[%d].ip", i), a.IP})
		}
	}
	return all
}

func containers(p *corev1.Pod) []string {
	names := make([]string, 0, len(p.Spec.Containers))
	for _, c := range p.Spec.Containers {
		names = append(names, c.Name)
	}
	return names
}

// dnsCapture tells whether the pod's environment asks for DNS queries.
func dnsCapture(p *corev1.Pod) bool {
	for _, c := range p.Spec.Containers {
		for _, e := range c.Env {
			if e.Name == "ISTIO_META_DNS_CAPTURE" {
				return e.Value == "true"
			}
		}
	}
	return false
}

func ready(p *corev1.Pod) bool {
	for _, c := range p.Status.Conditions {
		if c.Type == corev1.PodReady {
			return c.Status == corev1.ConditionTrue
		}
	}
	return false
}
