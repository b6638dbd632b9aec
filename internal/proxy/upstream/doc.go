// SPDX-License-Identifier: Apache-2.0

// Package upstream executes clusters: it chooses the host, opens plain, TLS and
// in-process connections, and carries streams through shared HTTP/2 CONNECT
// connections (HBONE).
package upstream
