// SPDX-License-Identifier: Apache-2.0

package deploy

import (
	"testing"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
)

func TestPlaced(t *testing.T) {
	for _, c := range []struct {
		kind, namespace string
		ours            bool
	}{
		{"DaemonSet", Namespace, true}, {"Secret", Namespace, true}, {"Lease", Namespace, true},
		{"ClusterRole", "", true}, {"ClusterRoleBinding", "", true}, {"CertificateSigningRequest", "", true}, {"Namespace", "", true},
		{"Node", "", false}, {"PersistentVolume", "", false}, {"CustomResourceDefinition", "", false},
		{"Deployment", "shop", false}, {"Pod", "default", false},
	} {
		o := &unstructured.Unstructured{Object: map[string]any{"kind": c.kind}}
		o.SetNamespace(c.namespace)
		o.SetLabels(map[string]string{LabelPartOf: PartOf})
		if placed(o) != c.ours {
			t.Errorf("%s in namespace %q: %v", c.kind, c.namespace, !c.ours)
		}
	}
}
