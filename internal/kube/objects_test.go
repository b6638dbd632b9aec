// SPDX-License-Identifier: Apache-2.0

package kube_test

import (
	"net/netip"
	"time"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/ambient22/ambient22/internal/kube"
	"github.com/ambient22/ambient22/internal/mesh"
)

func at(minute int) metav1.Time {
	return metav1.NewTime(time.Date(2022, 11, 8, 6, minute, 0, 0, time.UTC))
}

func node(name, internalIP, podCIDR string) *corev1.Node {
	n := &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: name}, Spec: corev1.NodeSpec{PodCIDR: podCIDR}}
	if internalIP != "" {
		n.Status.Addresses = []corev1.NodeAddress{{Type: corev1.NodeInternalIP, Address: internalIP}}
	}
	return n
}

func namespace(name string, labels ...string) *corev1.Namespace {
	return &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: name, Labels: pairs(labels)}}
}

// pod is a running pod on node-a; edits change what a test is about.
func pod(namespace, name, ip string, edits ...func(*corev1.Pod)) *corev1.Pod {
	p := &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: name, UID: types.UID(namespace + "-" + name), CreationTimestamp: at(0)},
		Spec:       corev1.PodSpec{NodeName: "node-a", Containers: []corev1.Container{{Name: "app"}}},
		Status:     corev1.PodStatus{Phase: corev1.PodRunning, PodIP: ip},
	}
	for _, edit := range edits {
		edit(p)
	}
	return p
}

func labelled(labels ...string) func(*corev1.Pod) {
	return func(p *corev1.Pod) { p.Labels = pairs(labels) }
}

func hostNetwork(p *corev1.Pod) { p.Spec.HostNetwork = true }

func created(minute int) func(*corev1.Pod) {
	return func(p *corev1.Pod) { p.CreationTimestamp = at(minute) }
}

func isReady(p *corev1.Pod) {
	p.Status.Conditions = []corev1.PodCondition{{Type: corev1.PodReady, Status: corev1.ConditionTrue}}
}

func deleted(p *corev1.Pod) { p.DeletionTimestamp = new(at(50)) }

func service(name, clusterIP string, ports ...corev1.ServicePort) *corev1.Service {
	return &corev1.Service{
		ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: name},
		Spec:       corev1.ServiceSpec{ClusterIP: clusterIP, Ports: ports},
	}
}

func slice(name, service string, addresses []string, ports ...discoveryv1.EndpointPort) *discoveryv1.EndpointSlice {
	s := &discoveryv1.EndpointSlice{
		ObjectMeta:  metav1.ObjectMeta{Namespace: "default", Name: name, Labels: map[string]string{discoveryv1.LabelServiceName: service}},
		AddressType: discoveryv1.AddressTypeIPv4,
		Ports:       ports,
	}
	for _, a := range addresses {
		s.Endpoints = append(s.Endpoints, discoveryv1.Endpoint{Addresses: []string{a}})
	}
	return s
}

func pairs(keysAndValues []string) map[string]string {
	m := make(map[string]string, len(keysAndValues)/2)
	for i := 0; i < len(keysAndValues); i += 2 {
		m[keysAndValues[i]] = keysAndValues[i+1]
	}
	return m
}

// one is a mesh of one node, the namespace default and these pods.
func one(pods ...*corev1.Pod) kube.Objects {
	return kube.Objects{
		Nodes:      []*corev1.Node{node("node-a", "10.168.15.222", "10.4.4.0/24")},
		Namespaces: []*corev1.Namespace{namespace("default", mesh.LabelDataplaneMode, "ambient")},
		Pods:       pods,
	}
}

func sameIP(a, b netip.Addr) bool { return a == b }

func samePrefix(a, b netip.Prefix) bool { return a == b }
