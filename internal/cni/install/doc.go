// SPDX-License-Identifier: Apache-2.0

// Package install puts the CNI plugin on a node: its program, and its entry at the end
// of the list of plugins that the container runtime uses. Every other byte of that
// file stays as its owner wrote it, so that taking the entry out again gives back the
// file of before.
package install
