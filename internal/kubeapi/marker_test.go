// SPDX-License-Identifier: Apache-2.0

package kubeapi

import (
	"net/http"
	"net/netip"
	"slices"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/ambient22/ambient22/internal/mesh"
)

func (s *apiServer) mark(name string) string {
	return s.get("pods", "default", name).GetAnnotations()[mesh.AnnotationRedirection]
}

func (s *apiServer) marked(t *testing.T, name, want string) {
	t.Helper()
	s.wait(t, name+" has the annotation "+want, func() bool { return s.mark(name) == want })
}

// said waits for an event of this reason that says this about an object.
func (s *apiServer) said(t *testing.T, object, reason, text string) {
	t.Helper()
	s.wait(t, object+": "+reason+": "+text, func() bool {
		return slices.ContainsFunc(s.events(), func(e string) bool {
			return strings.HasPrefix(e, object+" "+reason+" ") && strings.Contains(e, text)
		})
	})
}

func (s *apiServer) events() []string {
	var all []string
	for _, e := range s.list("events") {
		about := e.Object["involvedObject"].(map[string]any)
		all = append(all, strings.Join([]string{about["kind"].(string) + "/" + about["name"].(string), e.Object["reason"].(string), e.Object["message"].(string)}, " "))
	}
	slices.Sort(all)
	return all
}

func annotated(p *corev1.Pod) {
	p.Annotations = map[string]string{mesh.AnnotationRedirection: "enabled"}
}

func TestAnnotationFollowsCapture(t *testing.T) {
	s := article(t)
	s.put(t, "pods", pod("sleep", "10.4.4.19"))
	s.put(t, "pods", pod("remote", "10.4.3.20", on("node-b")))
	s.put(t, "pods", pod("stale", "10.4.4.21", annotated, func(p *corev1.Pod) { p.Labels["ambient-type"] = "none" }))
	s.put(t, "pods", pod("theirs", "10.4.3.21", on("node-b"), annotated, func(p *corev1.Pod) { p.Labels["ambient-type"] = "none" }))
	run(t, s)
	s.marked(t, "sleep", "enabled")
	s.marked(t, "stale", "")
	s.said(t, "Pod/sleep", ReasonCaptured, "go through the node's ztunnel")
	s.said(t, "Pod/stale", ReasonNotCaptured, "it opted out (label ambient-type=none)")
	s.put(t, "namespaces", namespace("default"))
	s.said(t, "Pod/sleep", ReasonNotCaptured, "has no label istio.io/dataplane-mode=ambient")
	s.said(t, "Namespace/default", ReasonInactive, "has no label")
	if s.mark("remote") != "" || s.mark("theirs") != "enabled" {
		t.Error("a pod of another node was written to")
	}
}

// TestNothingIsSaidBeforeTheKernelHasIt follows a pod that comes, can't be captured,
// is, and whose node fails.
func TestNothingIsSaidBeforeTheKernelHasIt(t *testing.T) {
	s := article(t)
	s.put(t, "pods", pod("sleep", "10.4.4.19"))
	s.put(t, "pods", pod("stale", "10.4.4.20", annotated))
	c := runOn(t, s, nil)
	snapshot := c.until("the first", has("sleep* stale* ztunnel"))
	sleep, stale := "sleep-uid", map[string]netip.Addr{"stale-uid": netip.MustParseAddr("10.4.4.20")}
	tell := func(capture mesh.Capture) {
		capture.Snapshot = snapshot
		c.source.Captured(&capture)
	}
	tell(mesh.Capture{}) // nothing is known of either
	tell(mesh.Capture{Pods: stale, Refused: map[string]string{sleep: "no way to it"}})
	s.said(t, "Pod/sleep", ReasonNotCaptured, "no way to it")
	if s.mark("sleep") != "" || s.mark("stale") != "enabled" {
		t.Errorf("annotations: sleep %q, stale %q", s.mark("sleep"), s.mark("stale"))
	}
	for _, e := range s.events() {
		if strings.Contains(e, "stale") || strings.Contains(e, ReasonCaptured) {
			t.Errorf("said: %s", e)
		}
	}
	tell(mesh.Capture{Pods: map[string]netip.Addr{sleep: netip.MustParseAddr("10.4.4.19")}, Err: "tables are locked"})
	s.marked(t, "sleep", "enabled")
	s.marked(t, "stale", "")
	s.said(t, "Pod/sleep", ReasonCaptured, "go through the node's ztunnel")
	s.said(t, "Pod/stale", ReasonNotCaptured, "could not be made ready for it: tables are locked")
	s.put(t, "configmaps", settingsMap(map[string]string{KeyMode: "off"}))
	snapshot = c.until("off", has("sleep stale ztunnel"))
	tell(mesh.Capture{Pods: map[string]netip.Addr{sleep: netip.MustParseAddr("10.4.4.19")}}) // not let go yet
	if s.mark("sleep") != "enabled" {
		t.Error("the annotation went before the capture did")
	}
	tell(mesh.Capture{})
	s.marked(t, "sleep", "")
	s.said(t, "Pod/sleep", ReasonNotCaptured, "the mesh mode is off")
}

// TestAnnotationIsTriedAgain has the first writes fail.
func TestAnnotationIsTriedAgain(t *testing.T) {
	s := article(t)
	failures := 3
	s.refuse = func(r *http.Request) int {
		if r.Method == http.MethodPatch && failures > 0 {
			failures--
			return http.StatusInternalServerError
		}
		return 0
	}
	s.put(t, "pods", pod("sleep", "10.4.4.19"))
	run(t, s)
	s.marked(t, "sleep", "enabled")
}

func TestWithoutZtunnelNothingIsCaptured(t *testing.T) {
	s := article(t)
	s.remove("pods", "istio-system", "ztunnel")
	s.put(t, "pods", pod("sleep", "10.4.4.19", annotated))
	run(t, s)
	s.marked(t, "sleep", "")
	s.said(t, "Pod/sleep", ReasonNotCaptured, "no ztunnel is ready on node node-a")
}

func TestBothKindsOfLabels(t *testing.T) {
	s := article(t)
	s.put(t, "namespaces", namespace("both", mesh.LabelDataplaneMode, "ambient", "istio-injection", "enabled"))
	c := run(t, s)
	s.said(t, "Namespace/both", ReasonUnusable, "both the sidecar label istio-injection=enabled and the ambient label")
	if n := c.log.count("both the sidecar label"); n != 1 {
		t.Errorf("logged %d times", n)
	}
}

func settingsMap(data map[string]string) *corev1.ConfigMap {
	return &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Namespace: "istio-system", Name: "ambient22-config", UID: "cm"}, Data: data}
}

func TestSettingsAreFollowed(t *testing.T) {
	s := article(t)
	s.put(t, "pods", pod("sleep", "10.4.4.19"))
	c := run(t, s)
	c.until("the defaults", has("sleep* ztunnel"))
	s.put(t, "configmaps", settingsMap(map[string]string{KeyMode: "off", KeyTrustDomain: "example.org"}))
	got := c.until("off", has("sleep ztunnel"))
	if got.TrustDomain != "example.org" {
		t.Errorf("trust domain %q", got.TrustDomain)
	}
	s.put(t, "configmaps", settingsMap(map[string]string{KeyMode: "on", "disabledSelector": "a=b"}))
	s.said(t, "ConfigMap/ambient22-config", ReasonUnusable, "data.disabledSelector: there is no such setting")
	s.put(t, "pods", pod("web", "10.4.4.20"))
	c.until("the last good settings", has("sleep web ztunnel"))
	s.put(t, "configmaps", settingsMap(map[string]string{KeyMode: "on", KeyDisabledSelectors: "# not these\nkubernetes.io/metadata.name in (default)\n"}))
	s.said(t, "Namespace/default", ReasonInactive, "is disabled by the selector")
	s.remove("configmaps", "istio-system", "ambient22-config")
	c.until("the defaults again", has("sleep* web* ztunnel"))
}

// TestUnreadableSettingsAtTheStart wants nobody to be captured while it is not
// known who must not be.
func TestUnreadableSettingsAtTheStart(t *testing.T) {
	s := article(t)
	s.put(t, "configmaps", settingsMap(map[string]string{KeyDisabledSelectors: "a in ("}))
	c := run(t, s)
	s.said(t, "ConfigMap/ambient22-config", ReasonUnusable, "data.disabledSelectors")
	if len(c.snapshots) > 0 {
		t.Error("a snapshot was delivered")
	}
	s.put(t, "configmaps", settingsMap(nil))
	c.until("the first", has("ztunnel"))
}

// TestRulesAreEnoughAndNotMore compares the permissions with what was asked of the
// API server.
func TestRulesAreEnoughAndNotMore(t *testing.T) {
	s := article(t)
	s.serve("security.istio.io/v1", "authorizationpolicies", "peerauthentications")
	s.put(t, "pods", pod("sleep", "10.4.4.19"))
	c := run(t, s)
	s.said(t, "Pod/sleep", ReasonCaptured, "")
	if _, err := c.source.Add(t.Context(), arrival("nobody", "10.4.4.99")); err == nil {
		t.Error("a pod that nobody knows was let in")
	}
	s.marked(t, "sleep", "enabled")
	s.put(t, "namespaces", namespace("default"))
	s.said(t, "Pod/sleep", ReasonNotCaptured, "")
	unused := granted()
	delete(unused, request{verb: "patch", resource: "events"}) // only for what is repeated
	for _, r := range s.asked() {
		name := r.name
		r.namespace, r.name = "", ""
		if r.resource == "configmaps" {
			r.name = name
		}
		if !granted()[r] {
			t.Errorf("asked without permission: %+v", r)
		}
		delete(unused, r)
	}
	if len(unused) > 0 {
		t.Errorf("permissions that nothing needs: %v", unused)
	}
}

func (s *apiServer) asked() []request {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.requests)
}

func granted() map[request]bool {
	all := map[request]bool{}
	for _, rule := range append(ClusterRules(), NamespaceRules("ambient22-config")...) {
		addRule(all, rule)
	}
	return all
}

func addRule(all map[request]bool, rule rbacv1.PolicyRule) {
	for _, resource := range rule.Resources {
		resource, subresource, _ := strings.Cut(resource, "/")
		for _, verb := range rule.Verbs {
			all[request{verb: verb, group: rule.APIGroups[0], resource: resource, subresource: subresource, name: strings.Join(rule.ResourceNames, "")}] = true
		}
	}
}
