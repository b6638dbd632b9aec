// SPDX-License-Identifier: Apache-2.0

//go:build e2e

package e2e

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"testing"
	"time"

	"golang.org/x/sync/errgroup"
	coordinationv1 "k8s.io/api/coordination/v1"
	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/clientcmd"
)

const (
	// atOnce is how many requests are on their way to the API server at a time.
	atOnce = 16
	// beat is how often a node says that it lives. Silent ones, and their pods,
	// would be found not ready after 50 s.
	beat = 10 * time.Second
)

// objects makes nodes and pods that are only known to the API server.
type objects struct {
	kubernetes.Interface
	t *testing.T
}

func newObjects(t *testing.T) *objects {
	t.Helper()
	config, err := clientcmd.BuildConfigFromFlags("", os.Getenv("KUBECONFIG"))
	if err != nil {
		t.Fatal(err)
	}
	config.QPS = -1 // as many as the API server takes
	config.ContentType = "application/vnd.kubernetes.protobuf"
	client, err := kubernetes.NewForConfig(config)
	if err != nil {
		t.Fatal(err)
	}
	return &objects{client, t}
}

// each calls do with the numbers from 0 to n, many at a time.
func (o *objects) each(n int, do func(ctx context.Context, i int) error) {
	o.t.Helper()
	group, ctx := errgroup.WithContext(o.t.Context())
	group.SetLimit(atOnce)
	for i := range n {
		group.Go(func() error { return do(ctx, i) })
	}
	if err := group.Wait(); err != nil {
		o.t.Fatal(err)
	}
}

// place is a node without a kubelet.
type place struct {
	name, address, pods string
}

// nodes makes nodes that count as ready until the test's end. They carry no label of
// an operating system, and a taint, so that nobody else's pods get there.
func (o *objects) nodes(places ...place) {
	o.t.Helper()
	o.each(len(places), func(ctx context.Context, i int) error {
		p, now := places[i], metav1.Now()
		_, err := o.CoreV1().Nodes().Create(ctx, &corev1.Node{
			ObjectMeta: metav1.ObjectMeta{Name: p.name},
			Spec: corev1.NodeSpec{
				PodCIDR: p.pods, PodCIDRs: []string{p.pods}, Unschedulable: true,
				Taints: []corev1.Taint{{Key: "ambient22.test/no-kubelet", Effect: corev1.TaintEffectNoSchedule}},
			},
			Status: corev1.NodeStatus{
				Addresses:  []corev1.NodeAddress{{Type: corev1.NodeInternalIP, Address: p.address}},
				Conditions: []corev1.NodeCondition{{Type: corev1.NodeReady, Status: corev1.ConditionTrue, LastHeartbeatTime: now, LastTransitionTime: now, Reason: "Test"}},
			},
		}, metav1.CreateOptions{})
		if err != nil {
			return err
		}
		_, err = o.CoordinationV1().Leases(corev1.NamespaceNodeLease).Create(ctx, lease(p.name), metav1.CreateOptions{})
		return err
	})
	o.t.Cleanup(func() {
		for _, p := range places {
			err1 := o.CoreV1().Nodes().Delete(context.Background(), p.name, metav1.DeleteOptions{})
			// The node's lease goes with it, if it has not gone yet.
			err2 := o.CoordinationV1().Leases(corev1.NamespaceNodeLease).Delete(context.Background(), p.name, metav1.DeleteOptions{})
			if apierrors.IsNotFound(err2) {
				err2 = nil
			}
			if err := errors.Join(err1, err2); err != nil {
				o.t.Error(err)
			}
		}
	})
	go o.keepAlive(o.t.Context(), places)
}

func lease(node string) *coordinationv1.Lease {
	now := metav1.NowMicro()
	return &coordinationv1.Lease{
		ObjectMeta: metav1.ObjectMeta{Name: node},
		Spec:       coordinationv1.LeaseSpec{HolderIdentity: &node, LeaseDurationSeconds: new(int32(40)), RenewTime: &now},
	}
}

// keepAlive renews the nodes' leases until the test's end.
func (o *objects) keepAlive(ctx context.Context, places []place) {
	for {
		select {
		case <-ctx.Done():
			return
		case <-time.After(beat):
		}
		for _, p := range places {
			patch, err := json.Marshal(map[string]any{"spec": map[string]any{"renewTime": metav1.NowMicro()}})
			if err == nil {
				_, err = o.CoordinationV1().Leases(corev1.NamespaceNodeLease).Patch(ctx, p.name, types.MergePatchType, patch, metav1.PatchOptions{})
			}
			if err != nil && ctx.Err() == nil {
				o.t.Errorf("renewing the lease of %s: %v", p.name, err)
			}
		}
	}
}

func account(i int) string { return fmt.Sprintf("account-%d", i) }

// pod makes a pod of a node, without an address.
func (o *objects) pod(ctx context.Context, namespace, name, node, account string, labels map[string]string) error {
	_, err := o.CoreV1().Pods(namespace).Create(ctx, &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Name: name, Labels: labels},
		Spec: corev1.PodSpec{
			NodeName: node, ServiceAccountName: account,
			Containers: []corev1.Container{{
				Name: "app", Image: "ambient22.test/app:none", Ports: []corev1.ContainerPort{{ContainerPort: 8080}},
				Env: []corev1.EnvVar{{Name: "PORT", Value: "8080"}, {Name: "NODE", ValueFrom: &corev1.EnvVarSource{FieldRef: &corev1.ObjectFieldSelector{FieldPath: "spec.nodeName"}}}},
			}},
		},
	}, metav1.CreateOptions{})
	return err
}

// runs says, as a kubelet does, that a pod is ready at an address.
func (o *objects) runs(ctx context.Context, namespace, name string, ip netip.Addr) error {
	now := metav1.Now()
	patch, err := json.Marshal(map[string]any{"status": corev1.PodStatus{
		Phase: corev1.PodRunning, PodIP: ip.String(), PodIPs: []corev1.PodIP{{IP: ip.String()}}, StartTime: &now,
		Conditions: []corev1.PodCondition{
			{Type: corev1.PodInitialized, Status: corev1.ConditionTrue, LastTransitionTime: now},
			{Type: corev1.ContainersReady, Status: corev1.ConditionTrue, LastTransitionTime: now},
			{Type: corev1.PodReady, Status: corev1.ConditionTrue, LastTransitionTime: now},
		},
		ContainerStatuses: []corev1.ContainerStatus{{Name: "app", Ready: true, Started: new(true), Image: "ambient22.test/app:none", State: corev1.ContainerState{Running: &corev1.ContainerStateRunning{StartedAt: now}}}},
	}})
	if err != nil {
		return err
	}
	_, err = o.CoreV1().Pods(namespace).Patch(ctx, name, types.MergePatchType, patch, metav1.PatchOptions{}, "status")
	return err
}

// service makes a service with one port, and the slice of its endpoints, as the
// controllers do. kube-proxy is told to leave it to others: it is not what is
// measured.
func (o *objects) service(ctx context.Context, namespace, name string, endpoints []netip.Addr) error {
	labels := map[string]string{"service.kubernetes.io/service-proxy-name": "nobody"}
	_, err := o.CoreV1().Services(namespace).Create(ctx, &corev1.Service{
		ObjectMeta: metav1.ObjectMeta{Name: name, Labels: labels},
		Spec:       corev1.ServiceSpec{Ports: []corev1.ServicePort{{Name: "http", Port: 80}}},
	}, metav1.CreateOptions{})
	if err != nil {
		return err
	}
	slice := &discoveryv1.EndpointSlice{
		ObjectMeta:  metav1.ObjectMeta{GenerateName: name + "-", Labels: map[string]string{discoveryv1.LabelServiceName: name, "service.kubernetes.io/service-proxy-name": "nobody"}},
		AddressType: discoveryv1.AddressTypeIPv4,
		Ports:       []discoveryv1.EndpointPort{{Name: new("http"), Port: new(int32(8080)), Protocol: new(corev1.ProtocolTCP)}},
	}
	for _, ip := range endpoints {
		slice.Endpoints = append(slice.Endpoints, discoveryv1.Endpoint{
			Addresses: []string{ip.String()}, Conditions: discoveryv1.EndpointConditions{Ready: new(true), Serving: new(true), Terminating: new(false)},
		})
	}
	_, err = o.DiscoveryV1().EndpointSlices(namespace).Create(ctx, slice, metav1.CreateOptions{})
	return err
}
