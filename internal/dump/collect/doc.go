// SPDX-License-Identifier: Apache-2.0

// Package collect takes a dump from a running node. It only reads: it loads no
// kernel module, makes no table of the legacy iptables by looking at it, and
// writes nowhere.
package collect
