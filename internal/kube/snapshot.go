// SPDX-License-Identifier: Apache-2.0

package kube

import (
	"cmp"
	"fmt"
	"net/netip"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/ambient22/ambient22/internal/mesh"
)

// Objects are all objects of a cluster that bear on the data path. They are only
// read.
type Objects struct {
	Nodes                 []*corev1.Node
	Namespaces            []*corev1.Namespace
	Pods                  []*corev1.Pod
	Services              []*corev1.Service
	EndpointSlices        []*discoveryv1.EndpointSlice
	AuthorizationPolicies []*AuthorizationPolicy
	PeerAuthentications   []*PeerAuthentication
}

// Snapshot makes the mesh out of its objects, and names everything that had to be
// left out. The same objects in any order give equal values.
func Snapshot(o Objects, opt Options) (*mesh.Snapshot, []Problem) {
	b := &builder{
		options:  opt,
		snapshot: &mesh.Snapshot{TrustDomain: cmp.Or(opt.TrustDomain, mesh.DefaultTrustDomain)},
	}
	b.addNodes(o.Nodes)
	b.addNamespaces(o.Namespaces)
	b.addPods(o.Pods)
	b.addServices(o.Services, o.EndpointSlices)
	b.addPolicies(o.AuthorizationPolicies)
	b.addPeerAuthentications(o.PeerAuthentications)
	b.snapshot.Sort()
	sortProblems(b.problems)
	return b.snapshot, b.problems
}

type builder struct {
	options  Options
	snapshot *mesh.Snapshot
	problems []Problem

	nodes     map[string]bool
	nodeIPs   map[netip.Addr]string // InternalIP → node
	activity  map[string]activity   // by namespace
	addresses map[netip.Addr]Ref    // who has an address of its own: pods
}

// subject reports problems of one object.
type subject struct {
	b   *builder
	ref Ref
}

func (b *builder) about(kind, namespace, name string) subject {
	return subject{b, Ref{kind, namespace, name}}
}

// problem notes what is wrong with a field, and a way out.
func (s subject) problem(field, fix, format string, args ...any) {
	s.b.problems = append(s.b.problems, Problem{Object: s.ref, Field: field, What: fmt.Sprintf(format, args...), Fix: fix})
}

// inOrder sorts objects of one kind by name, so that what is found in them does
// not depend on the order they came in. Of objects with one name, which only files
// can hold, the first counts.
func inOrder[T metav1.Object](b *builder, kind string, objects []T) []T {
	sorted := slices.SortedStableFunc(slices.Values(objects), func(x, y T) int {
		return cmp.Or(cmp.Compare(x.GetNamespace(), y.GetNamespace()), cmp.Compare(x.GetName(), y.GetName()))
	})
	var last Ref
	return slices.DeleteFunc(sorted, func(o T) bool {
		ref := Ref{kind, o.GetNamespace(), o.GetName()}
		if ref == last {
			subject{b, ref}.problem("metadata.name", "rename or remove one of them", "two objects have this name")
			return true
		}
		last = ref
		return false
	})
}

// list joins names for a sentence.
func list(names []string) string {
	if len(names) == 0 {
		return "none"
	}
	slices.Sort(names)
	return strings.Join(names, ", ")
}
