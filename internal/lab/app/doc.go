// SPDX-License-Identifier: Apache-2.0

// Package app is the lab's application: an HTTP server that stands in for
// bookinfo's productpage and says which address it saw, and a client that calls
// it once, many times, or with large bodies, and reports what it saw itself.
package app
