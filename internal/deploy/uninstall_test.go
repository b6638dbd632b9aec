// SPDX-License-Identifier: Apache-2.0

package deploy

import (
	"io"
	"maps"
	"testing"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	dynamicfake "k8s.io/client-go/dynamic/fake"
	"k8s.io/client-go/kubernetes/fake"
)

// An uninstall must not wait for what nobody will do.
func TestWhomTheControllersLetGo(t *testing.T) {
	pod := func(name, node string, phase corev1.PodPhase) *corev1.Pod {
		return &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Name: name}, Spec: corev1.PodSpec{NodeName: node}, Status: corev1.PodStatus{Phase: phase}}
	}
	got := letGoBy(map[string]bool{"node-a": true, "node-b": false}, []*corev1.Pod{
		pod("runs", "node-a", corev1.PodRunning), pod("starts", "node-a", corev1.PodPending),
		pod("job that is done", "node-a", corev1.PodSucceeded), pod("job that failed", "node-a", corev1.PodFailed),
		pod("without controller", "node-b", corev1.PodRunning), pod("elsewhere", "node-c", corev1.PodRunning),
	})
	if len(got) != 2 || got[0].Name != "runs" || got[1].Name != "starts" {
		t.Errorf("waits for %v", got)
	}
}

// The containers of a node that is lost stay ready in the API.
func TestNodesThatAreAwayHaveNoController(t *testing.T) {
	set := &appsv1.DaemonSet{
		ObjectMeta: metav1.ObjectMeta{Namespace: Namespace, Name: NodeController, UID: "set"},
		Spec:       appsv1.DaemonSetSpec{Selector: &metav1.LabelSelector{MatchLabels: map[string]string{"app": NodeController}}},
	}
	of := func(p *corev1.Pod) {
		p.OwnerReferences = []metav1.OwnerReference{{Kind: "DaemonSet", UID: "set", Controller: new(true)}}
		p.Labels = map[string]string{"app": NodeController}
		p.Status.ContainerStatuses[0].Name = NodeController
	}
	node := func(name string, ready corev1.ConditionStatus) *corev1.Node {
		return &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: name}, Status: corev1.NodeStatus{
			Conditions: []corev1.NodeCondition{{Type: corev1.NodeReady, Status: ready}},
		}}
	}
	u := &Uninstaller{Client: &Client{Kube: fake.NewClientset(set, node("node-a", corev1.ConditionTrue), node("node-b", corev1.ConditionUnknown),
		node("node-c", corev1.ConditionTrue), podOn("node-a", Namespace, "a", of), podOn("node-b", Namespace, "b", of),
		podOn("node-c", Namespace, "c", of, notReady))}}
	got, err := u.controllers(t.Context())
	if want := map[string]bool{"node-a": true, "node-b": false, "node-c": false}; err != nil || !maps.Equal(got, want) {
		t.Errorf("%v, %v; want %v", got, err, want)
	}
}

// An uninstall may be cut short when all that is left is the namespace.
func TestTheNamespaceGoesAlsoAlone(t *testing.T) {
	for name, c := range map[string]struct {
		annotations map[string]string
		stays       bool
	}{
		"made by install": {annotations: map[string]string{AnnotationCreated: Manager}},
		"somebody else's": {stays: true},
	} {
		t.Run(name, func(t *testing.T) {
			namespace := newNamespace(Namespace)
			namespace.SetAnnotations(c.annotations)
			objects := dynamicfake.NewSimpleDynamicClientWithCustomListKinds(runtime.NewScheme(),
				map[schema.GroupVersionResource]string{certificateRequests(): "CertificateSigningRequestList"}, namespace)
			kube := fake.NewClientset()
			mapper := meta.NewDefaultRESTMapper(nil)
			mapper.Add(corev1.SchemeGroupVersion.WithKind(kindNamespace), meta.RESTScopeRoot)
			u := &Uninstaller{
				Client: &Client{Kube: kube, Dynamic: objects, Discovery: kube.Discovery(), Mapper: mapper},
				Out:    io.Discard, Timeout: time.Minute,
			}
			if err := u.Run(t.Context()); err != nil {
				t.Fatal(err)
			}
			_, err := objects.Resource(namespaces()).Get(t.Context(), Namespace, metav1.GetOptions{})
			if stays := err == nil; stays != c.stays {
				t.Errorf("the namespace: %v", err)
			}
		})
	}
}
