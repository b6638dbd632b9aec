// SPDX-License-Identifier: Apache-2.0

package kube

import (
	"cmp"
	"slices"
)

// Ref names one object. Namespace is empty for nodes and namespaces.
type Ref struct{ Kind, Namespace, Name string }

// String is the object as kubectl users write it: "Pod default/sleep", "Node a".
func (r Ref) String() string {
	if r.Namespace == "" {
		return r.Kind + " " + r.Name
	}
	return r.Kind + " " + r.Namespace + "/" + r.Name
}

// Kinds of objects that make up a mesh.
const (
	KindNode                = "Node"
	KindNamespace           = "Namespace"
	KindPod                 = "Pod"
	KindService             = "Service"
	KindEndpointSlice       = "EndpointSlice"
	KindAuthorizationPolicy = "AuthorizationPolicy"
	KindPeerAuthentication  = "PeerAuthentication"
)

// Problem is one reason why an object, or a part of it, can't be used.
type Problem struct {
	Object Ref
	Field  string // path inside the object, "status.podIP"
	What   string // what is wrong with the value
	Fix    string // what a person can do about it
}

// Error is the whole problem in one line.
func (p Problem) Error() string {
	return p.Object.String() + ": " + p.Detail()
}

// Detail is the problem without the object's name.
func (p Problem) Detail() string {
	text := p.Field + ": " + p.What
	if p.Fix != "" {
		text += "; " + p.Fix
	}
	return text
}

func sortProblems(problems []Problem) {
	slices.SortFunc(problems, func(a, b Problem) int {
		return cmp.Or(
			cmp.Compare(a.Object.Kind, b.Object.Kind),
			cmp.Compare(a.Object.Namespace, b.Object.Namespace),
			cmp.Compare(a.Object.Name, b.Object.Name),
			cmp.Compare(a.Field, b.Field),
			cmp.Compare(a.What, b.What),
		)
	})
}
