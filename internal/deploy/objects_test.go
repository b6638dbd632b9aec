// SPDX-License-Identifier: Apache-2.0

package deploy

import (
	"slices"
	"strings"
	"testing"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
)

func titlesOf(objects []*unstructured.Unstructured) []string {
	var all []string
	for _, o := range objects {
		all = append(all, Title(o))
	}
	return all
}

// Documents, Lists and comments are read, and applied in an order in which nothing
// refers to what comes later.
func TestParse(t *testing.T) {
	objects, err := Parse([]byte(`# only a comment
---
apiVersion: apps/v1
kind: DaemonSet
metadata: {name: ztunnel, namespace: istio-system}
---
apiVersion: v1
kind: List
items:
  - {apiVersion: v1, kind: ConfigMap, metadata: {name: c, namespace: istio-system}}
  - {apiVersion: v1, kind: ServiceAccount, metadata: {name: s, namespace: istio-system}}
---
apiVersion: v1
kind: Namespace
metadata: {name: istio-system}
`))
	if err != nil {
		t.Fatal(err)
	}
	want := []string{"Namespace istio-system", "ServiceAccount istio-system/s", "ConfigMap istio-system/c", "DaemonSet istio-system/ztunnel"}
	if got := titlesOf(inOrder(objects)); !slices.Equal(got, want) {
		t.Errorf("got %q", got)
	}
	for _, wrong := range []string{"a: b", "kind: [", "apiVersion: v1\nmetadata: {}"} {
		if _, err := Parse([]byte("---\n" + wrong)); err == nil || !strings.Contains(err.Error(), "reading document 1") {
			t.Errorf("%q: %v", wrong, err)
		}
	}
}

// The namespaces of objects are added where nobody lists them.
func TestWithNamespaces(t *testing.T) {
	config := newNamespace("c")
	config.SetKind("ConfigMap")
	config.SetNamespace(Namespace)
	for _, given := range [][]*unstructured.Unstructured{{config}, {config, newNamespace(Namespace)}} {
		if got := titlesOf(inOrder(withNamespaces(given))); !slices.Equal(got, []string{"Namespace istio-system", "ConfigMap istio-system/c"}) {
			t.Errorf("got %q", got)
		}
	}
}

// A namespace is marked as ours if it is made, and left alone if it was there.
func TestClaimed(t *testing.T) {
	wanted := newNamespace(Namespace)
	wanted.SetLabels(map[string]string{LabelPartOf: PartOf, "app.kubernetes.io/name": "ambient22", "pod-security.kubernetes.io/enforce": "privileged"})
	made, err := claimed(wanted, nil)
	if err != nil || !madeByUs(made) || made.GetLabels()[LabelPartOf] != PartOf {
		t.Errorf("a new one: %v, %v", made, err)
	}
	if again, err := claimed(wanted, made); err != nil || !madeByUs(again) {
		t.Errorf("one of ours: %v, %v", again, err)
	}
	theirs := newNamespace(Namespace)
	got, err := claimed(wanted, theirs)
	if err != nil || madeByUs(got) || len(got.GetLabels()) != 1 || got.GetLabels()["pod-security.kubernetes.io/enforce"] == "" {
		t.Errorf("somebody's: %v, %v", got, err)
	}
	if got, err := claimed(newNamespace(Namespace), theirs); got != nil || err != nil {
		t.Errorf("somebody's, with nothing to put on it: %v, %v", got, err)
	}
	theirs.SetDeletionTimestamp(new(metav1.Now()))
	if _, err := claimed(wanted, theirs); err == nil || !strings.Contains(err.Error(), "being deleted") {
		t.Errorf("one that goes: %v", err)
	}
	if madeByUs(theirs) || !madeByUs(made) {
		t.Error("an argument was changed")
	}
}

// What changes when nothing changes is no difference, and all else is.
func TestComparable(t *testing.T) {
	object := func(version string, at metav1.Time, manager, mode string) *unstructured.Unstructured {
		o := newNamespace("c")
		o.SetKind("ConfigMap")
		o.SetResourceVersion(version)
		o.SetManagedFields([]metav1.ManagedFieldsEntry{{Manager: manager, Operation: metav1.ManagedFieldsOperationApply, Time: &at}})
		o.Object["data"] = map[string]any{"mode": mode}
		return o
	}
	live := object("1", minutesAgo(5), Manager, "off")
	for name, c := range map[string]struct {
		result *unstructured.Unstructured
		same   bool
	}{
		"version and time": {object("2", minutesAgo(0), Manager, "off"), true},
		"content":          {object("1", minutesAgo(5), Manager, "on"), false},
		"owner":            {object("1", minutesAgo(5), "helm", "off"), false},
	} {
		if same(live, c.result) != c.same {
			t.Errorf("%s: not %t", name, c.same)
		}
	}
	if !applied(live) || applied(object("1", minutesAgo(5), "ambient-signer", "off")) {
		t.Error("who applied it is not known")
	}
}

// A conflict names the field, who has set it, and the way out; other errors stay.
func TestReadable(t *testing.T) {
	conflict := apierrors.NewApplyConflict([]metav1.StatusCause{{
		Type: metav1.CauseTypeFieldManagerConflict, Field: ".data.mode", Message: `conflict with "kubectl-edit" using v1`,
	}}, "Apply failed")
	got := readable(conflict).Error()
	for _, want := range []string{"data.mode", "kubectl-edit", "--force-conflicts"} {
		if !strings.Contains(got, want) {
			t.Errorf("no %s in %s", want, got)
		}
	}
	other := apierrors.NewForbidden(metav1.Unversioned.WithResource("x").GroupResource(), "x", nil)
	if readable(other) != error(other) || readable(nil) != nil {
		t.Error("another error is not left as it is")
	}
}

// Events about our objects are told from others in the same namespace.
func TestAboutUs(t *testing.T) {
	for name, want := range map[string]bool{
		"ztunnel": true, "ztunnel-x4z65": true, "ztunnel-x4z65.17a": true, "ambient-node-1": true, "ambient-signer-6f-x": true,
		"ambient22-ca": true, "ambient22-cleanup-7": true, "istiod-5": false, "ztunnels": false, "ambient": false,
	} {
		if got := aboutUs(eventOf("Pod", Namespace, name, "", "", 0)); got != want {
			t.Errorf("%s: %t", name, got)
		}
	}
}
