// SPDX-License-Identifier: Apache-2.0

// Package listener executes listeners: it accepts connections, runs the
// listener filters, finds the filter chain, asks the chain's RBAC filters, and runs
// its last filter, the TCP proxy or the HTTP connection manager for CONNECT.
//
// A listener can be replaced while it works: connections that it has accepted
// go on under the configuration they were accepted with, new ones get the new. One
// that carries tunnels takes no new request once its chain has changed.
package listener
