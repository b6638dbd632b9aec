// SPDX-License-Identifier: Apache-2.0

// Package evidence shows from packets what the data path did during a call: it
// captures on devices inside namespaces, decodes the tunnels, the TLS between
// the nodes and the connections inside, and compares packet counters of rules.
// Capturing is one file; all the rest is pure and works on frames.
package evidence
