// SPDX-License-Identifier: Apache-2.0

// Package ca has two things: Authority, the certificate authority that a node
// controller carries in itself, and Root, the signing part of it alone, for an
// authority that signs for keys which others keep.
//
// An Authority signs the short-lived certificates that the node's ztunnel fetches
// over SDS, one per workload identity. Its root lives in a directory (ca.crt, ca.key) and is the mesh's only lasting
// secret. Controllers of several nodes may open one directory at the same time,
// also for the very first time: exactly one of them creates the root, the others
// load it. Everything below the root stays in memory. A leaf is issued when it is
// asked for, dropped at about half of its life, and issued again for who still
// asks, so that the keys of pods that are gone do not outlive them.
//
// Certificates follow the X.509-SVID rules of SPIFFE: one URI SAN, no common name.
package ca
