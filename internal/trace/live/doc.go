// SPDX-License-Identifier: Apache-2.0

// Package live gets a packet's story from the running kernel: netfilter's own
// trace, conntrack's events and a capture of the tunnels, joined to one timeline.
package live
