// SPDX-License-Identifier: Apache-2.0

// Package bootstrap builds the Envoy bootstrap of a ztunnel: who the proxy is,
// where its admin interface listens, and over which Unix socket it asks for all
// the rest. It is what istio/proxyv2:1.16 is started with, and the embedded
// proxy reads the very same message, so that the two can't drift apart.
//
// What is not in it, and why:
//
//   - No static listener. Istio's own bootstrap serves metrics on 15090 and
//     readiness on 15021 from inside Envoy; here the ztunnel process answers both
//     (flags --metrics-addr and --readiness-addr), with either engine, and the
//     data path's listeners come over LDS alone.
//   - No runtime layer. The Envoy of 1.16 has internal listeners on once their
//     bootstrap extension is named; no feature needs switching.
//   - No statistics filter. Envoy counts everything; Istio's inclusion list would
//     hide the per-cluster counters that explain a broken path.
//
// The package does no I/O.
package bootstrap
