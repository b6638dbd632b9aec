// SPDX-License-Identifier: Apache-2.0

// Package meshsize says how large the configuration of one node's ztunnel is, and
// what one more pod, service or endpoint in the mesh adds to it. It finds out by
// building the mesh with that one more, so the figures are those of the real thing.
package meshsize
