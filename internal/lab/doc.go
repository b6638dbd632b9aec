// SPDX-License-Identifier: Apache-2.0

// Package lab runs the article's environment on one machine: two nodes and
// their pods as network namespaces, the node controllers and ztunnels as real
// processes in them. It brings the lab up, makes the article's call, compares
// the article's listings with what the system prints, and gathers evidence from
// packets.
package lab
