// SPDX-License-Identifier: Apache-2.0

// Package manifest is the mesh source that reads a folder of Kubernetes manifests:
// Nodes, Namespaces, Pods with their status, Services, EndpointSlices, and of
// Istio's security API AuthorizationPolicies and PeerAuthentications, as
// `kubectl get -o yaml` prints them.
//
// A folder is taken as a whole or not at all. Whatever is wrong in it is reported
// at once, each with file, object, field and a way out, and the last good snapshot
// stays in force. Other built-in kinds (Deployments, ConfigMaps, ...) may stand in
// the same files; they are checked and ignored.
package manifest
