// SPDX-License-Identifier: Apache-2.0

// Package adsclient is the client's side of the xDS protocol, incremental and
// state of the world, for the aggregated stream and for streams of secrets.
//
// A Client keeps one stream open for ever. It asks for what Subscribe names,
// hands each response to its Handler, and acknowledges it, or refuses it with
// the handler's reasons. When the stream breaks it opens another and says there
// what it already has, so that only what changed is sent again; meanwhile
// everything that was received stays in use.
package adsclient
