// SPDX-License-Identifier: Apache-2.0

package kubeapi

import (
	"bytes"
	"log/slog"
	"net/http"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	securityv1beta1 "istio.io/api/security/v1beta1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"

	"github.com/ambient22/ambient22/internal/kube"
	"github.com/ambient22/ambient22/internal/mesh"
)

// cluster is a source that runs against a server.
type cluster struct {
	*apiServer
	t         *testing.T
	snapshots chan *mesh.Snapshot
	log       *logBuffer
	source    *Source
	kernel    func(*mesh.Snapshot) *mesh.Capture // what a node makes of a snapshot; nil makes nothing
}

// willing is a kernel that takes what it is given.
func willing(s *mesh.Snapshot) *mesh.Capture {
	c := &mesh.Capture{Snapshot: s, Pods: map[string]netip.Addr{}}
	for _, w := range s.Workloads {
		if w.Node == "node-a" && w.Enrolled() && s.ActiveZtunnel("node-a") != nil {
			c.Pods[w.UID] = w.IP
		}
	}
	return c
}

type logBuffer struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (b *logBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.text.Write(p)
}

func (b *logBuffer) count(part string) int {
	b.mu.Lock()
	defer b.mu.Unlock()
	return strings.Count(b.text.String(), part)
}

// config is that of a source for a server.
func config(t *testing.T, s *apiServer, log *logBuffer) Config {
	t.Helper()
	settings := &rest.Config{Host: s.URL, QPS: -1}
	return Config{
		Kubernetes: kubernetes.NewForConfigOrDie(settings), Dynamic: dynamic.NewForConfigOrDie(settings),
		Node: "node-a", ConfigMap: types.NamespacedName{Namespace: "istio-system", Name: "ambient22-config"},
		Rediscover: 50 * time.Millisecond, Log: slog.New(slog.NewTextHandler(log, nil)),
	}
}

// run runs a source until the test ends.
func run(t *testing.T, s *apiServer, edits ...func(*Config)) *cluster {
	t.Helper()
	return runOn(t, s, willing, edits...)
}

// runOn is run with a node that makes something else of what it is told.
func runOn(t *testing.T, s *apiServer, kernel func(*mesh.Snapshot) *mesh.Capture, edits ...func(*Config)) *cluster {
	t.Helper()
	c := &cluster{apiServer: s, t: t, snapshots: make(chan *mesh.Snapshot, 1000), log: &logBuffer{}, kernel: kernel}
	settings := config(t, s, c.log)
	for _, edit := range edits {
		edit(&settings)
	}
	var running sync.WaitGroup
	c.source = New(settings)
	running.Go(func() {
		err := c.source.Run(t.Context(), func(s *mesh.Snapshot, err error) {
			if err != nil {
				t.Errorf("an error was delivered: %v", err)
			}
			if !settings.ReadOnly && c.kernel != nil {
				c.source.Captured(c.kernel(s))
			}
			c.snapshots <- s
		})
		if err != nil {
			t.Error(err)
		}
	})
	t.Cleanup(running.Wait)
	return c
}

// until takes snapshots until ok holds for one, and returns that.
func (c *cluster) until(what string, ok func(*mesh.Snapshot) bool) *mesh.Snapshot {
	c.t.Helper()
	var last *mesh.Snapshot
	limit := time.After(30 * time.Second)
	for {
		select {
		case last = <-c.snapshots:
			if ok(last) {
				return last
			}
		case <-limit:
			c.t.Fatalf("it never came to that: %s; last snapshot %+v\n%s", what, last, c.log.text.String())
		}
	}
}

// pods are the names of the workloads, captured ones with a star.
func pods(s *mesh.Snapshot) string {
	var names []string
	for i := range s.Workloads {
		name := s.Workloads[i].Name
		if s.Workloads[i].Enrolled() {
			name += "*"
		}
		names = append(names, name)
	}
	return strings.Join(names, " ")
}

func has(want string) func(*mesh.Snapshot) bool {
	return func(s *mesh.Snapshot) bool { return pods(s) == want }
}

func node(name, cidr string) *corev1.Node {
	return &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: name, UID: types.UID(name)}, Spec: corev1.NodeSpec{PodCIDR: cidr}}
}

func namespace(name string, labels ...string) *corev1.Namespace {
	n := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: name, UID: types.UID("ns-" + name), Labels: map[string]string{}}}
	for i := 0; i < len(labels); i += 2 {
		n.Labels[labels[i]] = labels[i+1]
	}
	return n
}

func pod(name, ip string, edits ...func(*corev1.Pod)) *corev1.Pod {
	p := &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: name, UID: types.UID(name + "-uid"), Labels: map[string]string{"app": name}},
		Spec:       corev1.PodSpec{NodeName: "node-a", Containers: []corev1.Container{{Name: "c"}}},
		Status:     corev1.PodStatus{Phase: corev1.PodRunning, PodIP: ip},
	}
	for _, edit := range edits {
		edit(p)
	}
	return p
}

func on(node string) func(*corev1.Pod) { return func(p *corev1.Pod) { p.Spec.NodeName = node } }

func ready(p *corev1.Pod) {
	p.Status.Conditions = []corev1.PodCondition{{Type: corev1.PodReady, Status: corev1.ConditionTrue}}
}

// article is a server with two nodes, a ztunnel on the first, and the namespace
// default in ambient mode.
func article(t *testing.T) *apiServer {
	s := newAPIServer(t)
	s.put(t, "nodes", node("node-a", "10.4.4.0/24"))
	s.put(t, "nodes", node("node-b", "10.4.3.0/24"))
	s.put(t, "namespaces", namespace("default", mesh.LabelDataplaneMode, "ambient"))
	s.put(t, "namespaces", namespace("kube-system"))
	s.put(t, "namespaces", namespace("istio-system"))
	s.put(t, "pods", pod("ztunnel", "10.4.4.18", ready, in("istio-system")))
	return s
}

func TestChangesArrive(t *testing.T) {
	s := article(t)
	s.put(t, "pods", pod("sleep", "10.4.4.19"))
	c := run(t, s)
	c.until("the first", has("sleep* ztunnel"))
	s.put(t, "pods", pod("web", "10.4.3.20", on("node-b")))
	c.until("a new pod", has("sleep* web* ztunnel"))
	s.put(t, "namespaces", namespace("default"))
	c.until("the label is gone", has("sleep web ztunnel"))
	s.remove("pods", "default", "sleep")
	c.until("a pod is gone", has("web ztunnel"))
}

// TestOutage wants nothing to be delivered while the API server is away, and what
// was deleted meanwhile to be gone with the first list.
func TestOutage(t *testing.T) {
	s := article(t)
	s.put(t, "pods", pod("old", "10.4.4.19"))
	c := run(t, s)
	c.until("the first", has("old* ztunnel"))
	s.stop()
	s.remove("pods", "default", "old")
	s.put(t, "pods", pod("new", "10.4.4.19")) // with the old one's address
	s.turnedAway(t, 6)                        // each informer has tried at least once
	select {
	case got := <-c.snapshots:
		t.Errorf("a snapshot came during the outage: %s", pods(got))
	default:
	}
	s.start()
	got := c.until("the list after the outage", func(s *mesh.Snapshot) bool { return strings.Contains(pods(s), "new") })
	if pods(got) != "new* ztunnel" {
		t.Errorf("something stale is left: %s", pods(got))
	}
	s.put(t, "pods", pod("late", "10.4.4.20"))
	c.until("watching goes on", has("late* new* ztunnel"))
}

// TestNothingBeforeEverythingIsListed wants no snapshot without a kind that the
// API server has not told of yet.
func TestNothingBeforeEverythingIsListed(t *testing.T) {
	s := article(t)
	s.serve("security.istio.io/v1", "authorizationpolicies", "peerauthentications")
	open := make(chan struct{})
	s.refuse = refuseUntil(open, "authorizationpolicies")
	s.put(t, "authorizationpolicies", deny("no-one"))
	c := run(t, s)
	s.turnedAway(t, 2)
	if len(c.snapshots) > 0 {
		t.Error("a snapshot came without the policies")
	}
	close(open)
	if got := c.until("the first", func(*mesh.Snapshot) bool { return true }); len(got.Policies) != 1 {
		t.Errorf("policies %v", got.Policies)
	}
}

func deny(name string) *kube.AuthorizationPolicy {
	p := &kube.AuthorizationPolicy{ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: name}}
	p.Spec.Action = securityv1beta1.AuthorizationPolicy_DENY
	p.Spec.Rules = []*securityv1beta1.Rule{{}}
	return p
}

func TestPoliciesWhoseDefinitionsComeLater(t *testing.T) {
	s := article(t)
	c := run(t, s)
	c.until("the first", has("ztunnel"))
	p := deny("late")
	p.Annotations = map[string]string{mesh.AnnotationDryRun: "true", "other": "x"}
	s.put(t, "authorizationpolicies", p)
	s.put(t, "peerauthentications", &kube.PeerAuthentication{ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: "strict"},
		Spec: securityv1beta1.PeerAuthentication{Mtls: &securityv1beta1.PeerAuthentication_MutualTLS{Mode: securityv1beta1.PeerAuthentication_MutualTLS_STRICT}}})
	s.serve("security.istio.io/v1beta1", "authorizationpolicies", "peerauthentications")
	got := c.until("policies", func(s *mesh.Snapshot) bool { return len(s.Policies) == 1 && len(s.PeerAuthentications) == 1 })
	want := mesh.AuthorizationPolicy{Namespace: "default", Name: "late", Action: mesh.Deny, DryRun: true, Rules: []mesh.Rule{{}}}
	if diff := cmp.Diff(want, got.Policies[0]); diff != "" {
		t.Errorf("the policy differs (-want +got):\n%s", diff)
	}
	if got.PeerAuthentications[0].Mode != mesh.MTLSStrict {
		t.Errorf("mode %v", got.PeerAuthentications[0].Mode)
	}
	s.serve("security.istio.io/v1beta1", "peerauthentications")
	c.until("one kind is gone", func(s *mesh.Snapshot) bool { return len(s.Policies) == 0 && len(s.PeerAuthentications) == 1 })
}

func TestLoadReadsOnceAndWritesNothing(t *testing.T) {
	s := article(t)
	s.put(t, "pods", pod("sleep", "10.4.4.19"))
	got, err := Load(t.Context(), config(t, s, &logBuffer{}))
	if err != nil || pods(got) != "sleep* ztunnel" {
		t.Fatalf("%v, %v", got, err)
	}
	for _, r := range s.requests {
		if r.verb != "list" && r.verb != "watch" {
			t.Errorf("%+v", r)
		}
	}
}

// refuseUntil forbids a resource until open is closed.
func refuseUntil(open <-chan struct{}, resource string) func(*http.Request) int {
	return func(r *http.Request) int {
		select {
		case <-open:
		default:
			if strings.HasSuffix(r.URL.Path, "/"+resource) {
				return http.StatusForbidden
			}
		}
		return 0
	}
}
