// SPDX-License-Identifier: Apache-2.0

package kube

import (
	"fmt"
	"maps"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/util/validation"

	"github.com/ambient22/ambient22/internal/mesh"
)

// activity is whether the pods of a namespace take part; why says why not.
type activity struct {
	active bool
	why    string
}

func (b *builder) addNamespaces(namespaces []*corev1.Namespace) {
	namespaces = inOrder(b, KindNamespace, namespaces)
	b.activity = make(map[string]activity, len(namespaces))
	for _, n := range namespaces {
		at := b.about(KindNamespace, "", n.Name)
		if at.validName("metadata.name", n.Name, validation.IsDNS1123Label) {
			b.activity[n.Name] = at.activity(n)
		}
	}
}

// WhyInactive is why the pods of a namespace take no part, in words for a person,
// and empty where they do.
func WhyInactive(n *corev1.Namespace, o Options) string {
	b := &builder{options: o}
	return b.about(KindNamespace, "", n.Name).activity(n).why
}

// activity applies the mesh mode, the labels and the disabled selectors.
func (at subject) activity(n *corev1.Namespace) activity {
	ambient := n.Labels[mesh.LabelDataplaneMode] == mesh.DataplaneModeAmbient
	sidecar := sidecarLabel(n.Labels)
	if ambient && sidecar != "" {
		at.problem("metadata.labels", "remove one of the two",
			"the namespace has both the sidecar label %s and the ambient label %s=%s", sidecar, mesh.LabelDataplaneMode, mesh.DataplaneModeAmbient)
		return inactive("its namespace %s has both a sidecar label and the ambient label", n.Name)
	}
	mode := at.b.options.Mode
	if mode == ModeOff {
		return inactive("the mesh mode is off")
	}
	if sidecar != "" {
		return inactive("its namespace %s uses sidecars (label %s)", n.Name, sidecar)
	}
	if s := at.b.options.DisabledSelectors.match(namespaceLabels(n)); s != nil {
		return inactive("its namespace %s is disabled by the selector %q", n.Name, s)
	}
	if mode == ModeDefault && !ambient {
		return inactive("its namespace %s has no label %s=%s", n.Name, mesh.LabelDataplaneMode, mesh.DataplaneModeAmbient)
	}
	return activity{active: true}
}

func inactive(format string, args ...any) activity {
	return activity{why: fmt.Sprintf(format, args...)}
}

// namespaceLabels includes the label that the API server puts on every namespace
// and that a manifest need not repeat.
func namespaceLabels(n *corev1.Namespace) labels.Set {
	if _, ok := n.Labels[corev1.LabelMetadataName]; ok {
		return n.Labels
	}
	set := labels.Set{corev1.LabelMetadataName: n.Name}
	maps.Copy(set, n.Labels)
	return set
}

// sidecarLabel is the label that asks for sidecars, "" where there is none.
func sidecarLabel(set map[string]string) string {
	if set[mesh.LabelSidecarInjection] == "enabled" {
		return mesh.LabelSidecarInjection + "=enabled"
	}
	if revision, ok := set[mesh.LabelRevision]; ok {
		return mesh.LabelRevision + "=" + revision
	}
	return ""
}

// namespaceOf finds the activity of a pod's namespace. A namespace that nobody has
// described takes no part, and that is a problem: its pods would be outside
// without a word. It is reported for the first pod only.
func (at subject) namespaceOf(p *corev1.Pod) activity {
	a, ok := at.b.activity[p.Namespace]
	if !ok {
		at.problem("metadata.namespace", "add the Namespace", "there is no Namespace %q", p.Namespace)
		a = inactive("its namespace %s is unknown", p.Namespace)
		at.b.activity[p.Namespace] = a
	}
	return a
}
