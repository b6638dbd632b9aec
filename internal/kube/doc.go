// SPDX-License-Identifier: Apache-2.0

// Package kube turns Kubernetes objects into a snapshot of the mesh. Every source
// of objects uses it, so that a folder of manifests and a live API server that
// hold the same objects give the same mesh.
//
// It decides which pods take part, and says of every other pod why not. Objects
// that can't be used are left out, each with a Problem that names object and
// field: one broken object never takes the others down.
package kube
