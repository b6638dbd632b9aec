// SPDX-License-Identifier: Apache-2.0

// Package cni is what the CNI plugin and the node controller say to each other: JSON
// over HTTP on a Unix socket that only root may use, and one file for the time when
// nobody answers there.
//
// The plugin reports a pod as soon as it has its addresses, and holds it back until
// the controller has it captured. A pod that takes no part passes at once; one that
// does is refused while the node can't capture it.
package cni
