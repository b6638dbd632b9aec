// SPDX-License-Identifier: Apache-2.0

// Package proxyview says what a ztunnel does with a connection, from its
// config_dump alone: which listener takes it, which filter chain its matcher
// picks, whether a policy refuses it, which cluster and endpoint it goes on to,
// through which tunnel and with whose identity. It decodes resources with the
// embedded proxy's own decoder and asks the same questions in the same order, so
// it cannot come to another answer than the proxy would.
package proxyview
