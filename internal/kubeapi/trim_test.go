// SPDX-License-Identifier: Apache-2.0

package kubeapi

import (
	"fmt"
	"net/netip"
	"runtime"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/ambient22/ambient22/internal/kube"
	"github.com/ambient22/ambient22/internal/mesh"
)

// fullPod is a pod as an API server stores one of a Deployment: with the fields
// that others manage, volumes, probes and statuses.
func fullPod(i int) *corev1.Pod {
	yes := true
	p := pod(fmt.Sprintf("web-%d-7d4b9c6f5d-x2v%d", i%1000, i), netip.AddrFrom4([4]byte{10, 4, byte(i >> 8), byte(i)}).String(), ready)
	p.UID = types.UID(fmt.Sprintf("0b5c6c7e-8f1d-4c59-9c7e-%012d", i))
	p.ResourceVersion = fmt.Sprint(100000 + i)
	p.CreationTimestamp = metav1.NewTime(time.Unix(1667887200+int64(i), 0))
	p.Labels = map[string]string{
		"app": fmt.Sprintf("web-%d", i%1000), "version": "v1", "pod-template-hash": "7d4b9c6f5d",
	}
	p.Annotations = map[string]string{"kubectl.kubernetes.io/last-applied-configuration": fmt.Sprintf("%01000d", i), "prometheus.io/scrape": "true"}
	p.ManagedFields = []metav1.ManagedFieldsEntry{
		{Manager: "kube-controller-manager", FieldsV1: &metav1.FieldsV1{Raw: make([]byte, 1500)}},
		{Manager: "kubelet", FieldsV1: &metav1.FieldsV1{Raw: make([]byte, 900)}},
	}
	p.OwnerReferences = []metav1.OwnerReference{{APIVersion: "apps/v1", Kind: "ReplicaSet", Name: fmt.Sprintf("web-%d-7d4b9c6f5d", i%1000), Controller: &yes, BlockOwnerDeletion: &yes}}
	p.Spec.Volumes = []corev1.Volume{{Name: "kube-api-access", VolumeSource: corev1.VolumeSource{Projected: &corev1.ProjectedVolumeSource{
		Sources: make([]corev1.VolumeProjection, 3)}}}}
	p.Spec.Tolerations = make([]corev1.Toleration, 2)
	for c := range 2 {
		p.Spec.Containers = append(p.Spec.Containers, corev1.Container{
			Name: fmt.Sprintf("c%d", c), Image: fmt.Sprintf("example.org/web:%d", i), Env: make([]corev1.EnvVar, 10),
			VolumeMounts: make([]corev1.VolumeMount, 2), LivenessProbe: &corev1.Probe{}, ReadinessProbe: &corev1.Probe{},
		})
		p.Status.ContainerStatuses = append(p.Status.ContainerStatuses, corev1.ContainerStatus{ImageID: fmt.Sprintf("sha256:%064d", i), ContainerID: fmt.Sprintf("containerd://%064d", i)})
	}
	p.Status.PodIPs = []corev1.PodIP{{IP: p.Status.PodIP}}
	p.Status.Conditions = append(p.Status.Conditions, make([]corev1.PodCondition, 4)...)
	return p
}

func fullService(i int) (*corev1.Service, *discoveryv1.EndpointSlice) {
	name, port, tcp := fmt.Sprintf("web-%d", i), int32(8080), corev1.ProtocolTCP
	s := &corev1.Service{
		ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: name, UID: types.UID(name), ManagedFields: []metav1.ManagedFieldsEntry{{FieldsV1: &metav1.FieldsV1{Raw: make([]byte, 700)}}}},
		Spec: corev1.ServiceSpec{ClusterIP: fmt.Sprintf("10.8.%d.%d", i/250, 1+i%250), Selector: map[string]string{"app": name},
			Ports: []corev1.ServicePort{{Name: "http", Port: 80, Protocol: tcp}}},
	}
	e := &discoveryv1.EndpointSlice{
		ObjectMeta:  metav1.ObjectMeta{Namespace: "default", Name: name + "-abcde", Labels: map[string]string{discoveryv1.LabelServiceName: name}},
		AddressType: discoveryv1.AddressTypeIPv4, Ports: []discoveryv1.EndpointPort{{Name: &s.Spec.Ports[0].Name, Port: &port, Protocol: &tcp}},
	}
	for k := range 5 {
		at := i + k*1000
		e.Endpoints = append(e.Endpoints, discoveryv1.Endpoint{
			Addresses: []string{fmt.Sprintf("10.4.%d.%d", at>>8, at&255)},
			TargetRef: &corev1.ObjectReference{Kind: "Pod", Name: fmt.Sprint(at)}, NodeName: new(string),
		})
	}
	return s, e
}

// TestTrimmedObjectsGiveTheSameMesh holds what is kept against the whole objects.
func TestTrimmedObjectsGiveTheSameMesh(t *testing.T) {
	whole := kube.Objects{
		Nodes:      []*corev1.Node{node("node-a", "10.4.0.0/16")},
		Namespaces: []*corev1.Namespace{namespace("default", mesh.LabelDataplaneMode, "ambient"), namespace("istio-system")},
	}
	ztunnel := fullPod(300)
	ztunnel.Namespace = "istio-system"
	ztunnel.Labels["app"] = "ztunnel"
	ztunnel.Spec.Containers[1].Env = []corev1.EnvVar{{Name: "ISTIO_META_DNS_CAPTURE", Value: "true"}}
	whole.Pods = append(whole.Pods, ztunnel)
	for i := range 100 {
		s, e := fullService(i)
		whole.Pods, whole.Services, whole.EndpointSlices = append(whole.Pods, fullPod(i+1)), append(whole.Services, s), append(whole.EndpointSlices, e)
	}
	want, wantProblems := kube.Snapshot(whole, kube.Options{})
	kept := kube.Objects{
		Nodes: all(whole.Nodes, trimNode), Namespaces: all(whole.Namespaces, trimNamespace), Pods: all(whole.Pods, trimPod),
		Services: all(whole.Services, trimService), EndpointSlices: all(whole.EndpointSlices, trimEndpointSlice),
	}
	got, problems := kube.Snapshot(kept, kube.Options{})
	if diff := cmp.Diff(want, got, cmp.Comparer(func(a, b netip.Addr) bool { return a == b }), cmp.Comparer(func(a, b netip.Prefix) bool { return a == b })); diff != "" {
		t.Errorf("the mesh differs (-whole +kept):\n%s", diff)
	}
	if diff := cmp.Diff(wantProblems, problems); diff != "" {
		t.Errorf("the problems differ (-whole +kept):\n%s", diff)
	}
	if len(want.Workloads) != 101 || !want.ActiveZtunnel("node-a").DNSCapture {
		t.Errorf("%d workloads", len(want.Workloads))
	}
}

func all[T any](objects []T, keep func(T) T) []T {
	var kept []T
	for _, o := range objects {
		kept = append(kept, keep(o))
	}
	return kept
}

// BenchmarkMemory reports what the kept objects of a cluster take, beside what the
// whole ones would, and how long one snapshot of them takes.
func BenchmarkMemory(b *testing.B) {
	const pods, services = 5000, 1000
	o := kube.Objects{
		Nodes:      []*corev1.Node{node("node-a", "10.4.0.0/16")},
		Namespaces: []*corev1.Namespace{namespace("default", mesh.LabelDataplaneMode, "ambient")},
	}
	before := heap()
	for i := range pods {
		o.Pods = append(o.Pods, fullPod(i+1))
	}
	whole := heap() - before
	o.Pods = all(o.Pods, trimPod)
	trimmed := heap() - before
	for i := range services {
		s, e := fullService(i)
		o.Services, o.EndpointSlices = append(o.Services, trimService(s)), append(o.EndpointSlices, trimEndpointSlice(e))
	}
	total := heap() - before
	for b.Loop() {
		kube.Snapshot(o, kube.Options{})
	}
	b.ReportMetric(float64(whole)/pods, "whole-B/pod")
	b.ReportMetric(float64(trimmed)/pods, "kept-B/pod")
	b.ReportMetric(float64(total)/1e6, "kept-MB")
	runtime.KeepAlive(o)
}

func heap() uint64 {
	runtime.GC()
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}
