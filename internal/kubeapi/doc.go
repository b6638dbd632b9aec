// SPDX-License-Identifier: Apache-2.0

// Package kubeapi is the mesh source that follows a Kubernetes API server: Nodes,
// Namespaces, Pods, Services, EndpointSlices, one ConfigMap with the settings of
// the mesh, and, as soon as the cluster has them, Istio's AuthorizationPolicies and
// PeerAuthentications.
//
// Of each object only what internal/kube reads is kept in memory. Nothing is
// delivered before everything has been listed once, and while the API server is
// away the last snapshot stays in force; what was deleted meanwhile is gone with
// the first list after that.
//
// It writes two things: the annotation on pods of its own node that says they are
// captured, and Events that say why they are or aren't, and what is wrong with an
// object. Rules lists the permissions for all of it.
package kubeapi
