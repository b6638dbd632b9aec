// SPDX-License-Identifier: Apache-2.0

// Package listener executes listeners: it accepts connections, runs the
// listener filters, finds the filter chain, and runs the chain's one filter, the
// TCP proxy or the HTTP connection manager for CONNECT.
//
// A listener can be replaced while it works: connections that it has accepted
// go on under the configuration they were accepted with, new ones get the new.
package listener
