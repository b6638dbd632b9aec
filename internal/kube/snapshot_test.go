// SPDX-License-Identifier: Apache-2.0

package kube_test

import (
	"fmt"
	"math/rand/v2"
	"net/netip"
	"testing"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/ambient22/ambient22/internal/kube"
	"github.com/ambient22/ambient22/internal/mesh"
)

// TestReusedAddress gives a pod's address to a new pod while the old one is still
// listed: the new one has it.
func TestReusedAddress(t *testing.T) {
	old := pod("default", "old", "10.4.4.7", created(1))
	fresh := pod("default", "fresh", "10.4.4.7", created(2))
	leaving := pod("default", "leaving", "10.4.4.7", created(3), deleted)
	s, problems := kube.Snapshot(one(old, leaving, fresh), kube.Options{})
	if len(s.Workloads) != 1 || s.Workloads[0].Name != "fresh" {
		t.Errorf("workloads: %+v", s.Workloads)
	}
	if len(s.LeftOut) != 2 || len(problems) != 2 {
		t.Errorf("left out %+v, problems %v", s.LeftOut, problems)
	}
}

// TestSharedHostAddress lets any number of pods share their node's address.
func TestSharedHostAddress(t *testing.T) {
	s, problems := kube.Snapshot(one(
		pod("default", "one", "10.168.15.222", hostNetwork),
		pod("default", "two", "10.168.15.222", hostNetwork),
	), kube.Options{})
	if len(problems) > 0 || len(s.Workloads) != 2 {
		t.Errorf("problems %v, workloads %+v", problems, s.Workloads)
	}
}

// TestDualStack refuses a pod of the mesh that would be captured by half, and lets
// one outside the mesh be.
func TestDualStack(t *testing.T) {
	both := func(p *corev1.Pod) {
		p.Status.PodIPs = []corev1.PodIP{{IP: p.Status.PodIP}, {IP: "fd00::7"}}
	}
	objects := one(pod("default", "inside", "10.4.4.7", both), pod("elsewhere", "outside", "10.4.4.8", both))
	objects.Namespaces = append(objects.Namespaces, namespace("elsewhere"))
	s, problems := kube.Snapshot(objects, kube.Options{})
	if len(s.Workloads) != 1 || s.Workloads[0].Name != "outside" {
		t.Errorf("workloads: %+v", s.Workloads)
	}
	if len(problems) != 1 || problems[0].Field != "status.podIPs[1].ip" || problems[0].Object.Name != "inside" {
		t.Errorf("problems: %v", problems)
	}
}

func TestOwner(t *testing.T) {
	owned := func(kind, name string) func(*corev1.Pod) {
		return func(p *corev1.Pod) {
			p.Labels = map[string]string{"pod-template-hash": "5644bdc767"}
			p.OwnerReferences = []metav1.OwnerReference{{Kind: kind, Name: name, Controller: new(true)}}
		}
	}
	for name, c := range map[string]struct {
		pod  *corev1.Pod
		want mesh.Owner
	}{
		"deployment":      {pod("default", "p", "10.4.4.7", owned("ReplicaSet", "sleep-5644bdc767")), mesh.Owner{Kind: mesh.OwnerDeployment, Name: "sleep"}},
		"bare ReplicaSet": {pod("default", "p", "10.4.4.7", owned("ReplicaSet", "sleep-5644")), mesh.Owner{Kind: mesh.OwnerDeployment, Name: "sleep-5644"}},
		"CronJob":         {pod("default", "p", "10.4.4.7", owned("Job", "backup-27797999")), mesh.Owner{Kind: mesh.OwnerCronJob, Name: "backup"}},
		"Job":             {pod("default", "p", "10.4.4.7", owned("Job", "backup-once")), mesh.Owner{Kind: mesh.OwnerJob, Name: "backup-once"}},
		"Job with a year": {pod("default", "p", "10.4.4.7", owned("Job", "backup-2022")), mesh.Owner{Kind: mesh.OwnerJob, Name: "backup-2022"}},
		"StatefulSet":     {pod("default", "p", "10.4.4.7", owned("StatefulSet", "db")), mesh.Owner{Kind: mesh.OwnerDeployment, Name: "db"}},
		"nobody":          {pod("default", "p", "10.4.4.7"), mesh.Owner{Kind: mesh.OwnerPod, Name: "p"}},
	} {
		t.Run(name, func(t *testing.T) {
			s, problems := kube.Snapshot(one(c.pod), kube.Options{})
			if len(problems) > 0 || s.Workloads[0].Owner != c.want {
				t.Errorf("owner %+v, problems %v; want %+v", s.Workloads[0].Owner, problems, c.want)
			}
		})
	}
}

// TestEndpoints merges slices, resolves ports by name, and takes TCP and ready
// endpoints only.
func TestEndpoints(t *testing.T) {
	tcp, udp := corev1.ProtocolTCP, corev1.ProtocolUDP
	objects := one()
	objects.Services = []*corev1.Service{
		service("web", "10.8.0.2",
			corev1.ServicePort{Name: "http", Port: 80, Protocol: tcp},
			corev1.ServicePort{Name: "dns", Port: 53, Protocol: udp},
			corev1.ServicePort{Name: "admin", Port: 15000}),
		service("headless", "None", corev1.ServicePort{Port: 5432}),
		{ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: "alias"}, Spec: corev1.ServiceSpec{Type: corev1.ServiceTypeExternalName, ExternalName: "example.org"}},
	}
	http := discoveryv1.EndpointPort{Name: new("http"), Port: new(int32(8080)), Protocol: &tcp}
	other := discoveryv1.EndpointPort{Name: new("http"), Port: new(int32(8081))}
	dns := discoveryv1.EndpointPort{Name: new("dns"), Port: new(int32(53)), Protocol: &udp}
	unready := slice("web-3", "web", []string{"10.4.4.9"}, http)
	unready.Endpoints[0].Conditions.Ready = new(false)
	v6 := slice("web-4", "web", []string{"fd00::7"}, http)
	v6.AddressType = discoveryv1.AddressTypeIPv6
	objects.EndpointSlices = []*discoveryv1.EndpointSlice{
		slice("web-2", "web", []string{"10.4.4.7", "10.4.4.10"}, other, dns),
		slice("web-1", "web", []string{"10.4.4.8", "10.4.4.7"}, http, dns),
		slice("web-1b", "web", []string{"10.4.4.8"}, http),
		unready, v6,
		slice("headless-1", "headless", []string{"10.4.3.3"}, discoveryv1.EndpointPort{Port: new(int32(5432))}),
		slice("nobody", "", []string{"10.4.4.7"}, http),
		slice("gone", "gone", []string{"10.4.4.7"}, http),
	}
	s, problems := kube.Snapshot(objects, kube.Options{})
	if len(problems) > 0 {
		t.Fatal(problems)
	}
	end := func(address string) mesh.Endpoint {
		a := netip.MustParseAddrPort(address)
		return mesh.Endpoint{IP: a.Addr(), Port: a.Port()}
	}
	want := []mesh.Service{
		{Namespace: "default", Name: "headless", Ports: []mesh.ServicePort{{Number: 5432, Endpoints: []mesh.Endpoint{end("10.4.3.3:5432")}}}},
		{Namespace: "default", Name: "web", VIP: netip.MustParseAddr("10.8.0.2"), Ports: []mesh.ServicePort{
			{Name: "http", Number: 80, Endpoints: []mesh.Endpoint{end("10.4.4.7:8080"), end("10.4.4.7:8081"), end("10.4.4.8:8080"), end("10.4.4.10:8081")}},
			{Name: "admin", Number: 15000},
		}},
	}
	if diff := cmp.Diff(want, s.Services, cmp.Comparer(sameIP)); diff != "" {
		t.Errorf("services differ (-want +got):\n%s", diff)
	}
}

// TestDualStackService takes the IPv4 half.
func TestDualStackService(t *testing.T) {
	both := service("web", "fd00:8::2", corev1.ServicePort{Port: 80})
	both.Spec.ClusterIPs = []string{"fd00:8::2", "10.8.0.2"}
	objects := one()
	objects.Services = []*corev1.Service{both}
	s, problems := kube.Snapshot(objects, kube.Options{})
	if len(problems) > 0 || len(s.Services) != 1 || s.Services[0].VIP.String() != "10.8.0.2" {
		t.Errorf("problems %v, services %+v", problems, s.Services)
	}
}

// TestOrder shuffles objects, broken ones among them, and wants equal answers.
func TestOrder(t *testing.T) {
	objects := one()
	for i := range 40 {
		ip := netip.AddrFrom4([4]byte{10, 4, 4, byte(10 + i%35)}).String() // some twice
		objects.Pods = append(objects.Pods, pod("default", fmt.Sprintf("p%02d", i), ip, created(i%7)))
	}
	objects.Pods = append(objects.Pods, pod("nowhere", "a", "10.4.4.100"), pod("nowhere", "b", "10.4.4.101"), pod("default", "bad", "x"))
	objects.Services = []*corev1.Service{service("a", "10.8.0.2"), service("b", "10.8.0.2"), service("c", "10.4.4.10")}
	want, wantProblems := kube.Snapshot(objects, kube.Options{})
	random := rand.New(rand.NewPCG(1, 2))
	for range 20 {
		random.Shuffle(len(objects.Pods), func(i, j int) { objects.Pods[i], objects.Pods[j] = objects.Pods[j], objects.Pods[i] })
		random.Shuffle(len(objects.Services), func(i, j int) {
			objects.Services[i], objects.Services[j] = objects.Services[j], objects.Services[i]
		})
		got, gotProblems := kube.Snapshot(objects, kube.Options{})
		if diff := cmp.Diff(want, got, cmp.Comparer(sameIP), cmp.Comparer(samePrefix)); diff != "" {
			t.Fatalf("the snapshot depends on the order:\n%s", diff)
		}
		if diff := cmp.Diff(wantProblems, gotProblems); diff != "" {
			t.Fatalf("the problems depend on the order:\n%s", diff)
		}
	}
}

// TestActiveZtunnel follows a roll-out of the ztunnel on one node.
func TestActiveZtunnel(t *testing.T) {
	ztunnel := labelled("app", "ztunnel")
	old := pod("istio-system", "ztunnel-old", "10.4.4.2", ztunnel, created(1), isReady)
	starting := pod("istio-system", "ztunnel-new", "10.4.4.3", ztunnel, created(2))
	elsewhere := pod("istio-system", "ztunnel-b", "10.4.3.2", ztunnel, created(9), isReady, func(p *corev1.Pod) { p.Spec.NodeName = "node-b" })
	active := func(pods ...*corev1.Pod) string {
		objects := one(append(pods, elsewhere)...)
		objects.Nodes = append(objects.Nodes, node("node-b", "10.168.15.224", "10.4.3.0/24"))
		s, _ := kube.Snapshot(objects, kube.Options{})
		if z := s.ActiveZtunnel("node-a"); z != nil {
			return z.Name
		}
		return ""
	}
	if got := active(old, starting); got != "ztunnel-old" {
		t.Errorf("while the new one starts: %q", got)
	}
	isReady(starting)
	if got := active(old, starting); got != "ztunnel-new" {
		t.Errorf("when the new one is ready: %q", got)
	}
	other := func(pods ...*corev1.Pod) string {
		s, _ := kube.Snapshot(one(pods...), kube.Options{})
		return fmt.Sprint(s.OtherZtunnels("node-a"), s.OtherZtunnels("node-b"))
	}
	if got := other(old, starting); got != "[10.4.4.2] []" {
		t.Errorf("ztunnels that may have connections: %s", got)
	}
	if got := other(old); got != "[] []" {
		t.Errorf("besides the only one: %s", got)
	}
	deleted(starting)
	if got := active(old, starting); got != "ztunnel-old" {
		t.Errorf("when the new one is taken back: %q", got)
	}
	if got := active(starting); got != "ztunnel-new" {
		t.Errorf("when only a leaving one is left: %q", got)
	}
	if got := active(); got != "" {
		t.Errorf("without any: %q", got)
	}
}

func TestHostIP(t *testing.T) {
	s, problems := kube.Snapshot(kube.Objects{Nodes: []*corev1.Node{
		node("range", "10.168.15.222", "10.4.4.0/24"),
		node("no-range", "10.168.15.223", ""),
		node("nothing", "", ""),
	}}, kube.Options{})
	if len(problems) != 1 || problems[0].Object.Name != "nothing" {
		t.Errorf("problems: %v", problems)
	}
	for name, want := range map[string]string{"range": "10.4.4.1", "no-range": "10.168.15.223", "nothing": "invalid IP", "absent": "invalid IP"} {
		ip, err := s.HostIP(name)
		if ip.String() != want || (err != nil) != !ip.IsValid() {
			t.Errorf("%s: %v (%v), want %s", name, ip, err, want)
		}
	}
}
