// SPDX-License-Identifier: Apache-2.0

// Package deploy puts ambient22's objects into a cluster, says how they do, and
// takes them away again.
//
// Install takes rendered objects, whatever rendered them. The API server is asked
// first to check all of them without keeping any, so that a fault leaves nothing
// half-done; then they are applied by server-side apply, what an earlier
// rendering left behind is removed, and the nodes are watched until all of them
// carry the data path. Uninstall goes the other way: the pods are let go, every
// node is cleaned by a pod of its own, and only then the objects go.
//
// Everything is decided by what the API server says at that moment. There is no
// record of an install apart from the objects themselves, so a run that was cut
// short is continued by the next.
package deploy
