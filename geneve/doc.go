// SPDX-License-Identifier: Apache-2.0

// Package geneve keeps the point-to-point tunnel devices between a node and
// its ztunnel pod as wanted: a Device is how one should be, List reads the
// kernel's, Diff compares them without touching anything, and Apply changes
// what differs. A tunnel whose other end moved is changed in place, so that
// its addresses, its routes and its index stay.
package geneve
