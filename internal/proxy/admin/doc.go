// SPDX-License-Identifier: Apache-2.0

// Package admin is the proxy's administration interface: what Envoy answers on
// 127.0.0.1:15000, for those parts that this proxy has. Commands and scripts
// written for Envoy's config_dump, stats or ready work on it as they are.
//
// It reads the proxy through state.Source and stats.Registry only, and changes
// nothing but the log level and, on POST /quitquitquit, the proxy's end. Whoever
// reaches it reads the whole configuration, so Listen takes loopback addresses
// unless told otherwise; private keys are never printed.
//
// Where it differs from Envoy: endpoints keep their cluster_name, which the Envoy
// of 2022 left out of its dump (listing 11); the mask parameter is refused;
// hosts that an ORIGINAL_DST cluster met on the way are not listed.
package admin
