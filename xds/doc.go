// SPDX-License-Identifier: Apache-2.0

// Package xds serves one node's configuration to that node's ztunnel.
//
// A Server speaks Envoy's v3 discovery protocol over gRPC: the aggregated service
// (ADS), as state of the world and as delta, and the secret service (SDS) on the
// same listener, because a ztunnel's bootstrap points both of its clusters there.
// It serves listeners, clusters, endpoints, listener filter configurations
// (ECDS, as TypedExtensionConfig) and secrets.
//
// # What goes over the wire, and when
//
// Set replaces everything that is served, or nothing: a set that is not valid and
// consistent is refused whole. A stream compares what it has sent with what is
// served now and sends the difference, so a proxy that is slow to read misses the
// states in between and nothing queues up for it. Versions follow content alone, those of
// the resource in delta and those of all resources of the type in state of the world. A
// delta proxy that reconnects, also to a controller that was restarted, is sent
// only what differs from what it says it has.
//
// A change is sent in an order in which nothing is named before it exists and
// nothing removed while it is named: clusters, internal listeners, endpoints,
// listeners, then what fell away. A push waits until the proxy has answered the
// earlier ones, but never longer than a moment; endpoints wait for what they depend
// on, and not for the answers to a few earlier endpoints. What a proxy subscribes
// to is answered at once.
//
// In state of the world a message holds all of a type, as the protocol wants for
// listeners and clusters; there, clusters that fall away are sent once more
// beside the new ones and left out after the listeners have changed. Endpoints
// are the exception that the protocol allows: only those asked for, and only
// those that changed. Internal listeners can't go ahead of the others there.
//
// # Rejections
//
// A NACK is logged with the proxy's own words, counted, and kept for Status. What
// was rejected is not sent again until its content changes; other resources go on.
// While a listener or cluster stands rejected, nothing is removed that the proxy's
// older configuration may still use.
//
// # Cost of a change
//
// Resources that a Builder made are neither decoded nor looked into. A set is
// compared with what is served by pointer, a list that is the same slice not at
// all, and what a type's version has gained or lost is added to or taken from it.
// A stream looks up the names that have changed since it last looked, of which the
// server remembers a bounded number. So one service's change costs what it changes,
// beside two pointers compared for each resource of its kind.
//
// Each stream keeps, for every resource it was sent, the name and a pointer: some
// 25 bytes, and as many again for a name it asked for. The bytes are shared by all.
//
// In state of the world every answer names all that the proxy wants. The names are
// compared as a whole, by hash, before anything is decoded; but they cross the wire
// each time.
//
// # Sizes
//
// A resource's bytes are marshalled once, by package envoyconfig, in parts that
// resources have in common, and every stream sends those same bytes; a message is
// put together from references, but for parts that are smaller than the reference
// would be worth. A listener of a large mesh has hundreds of megabytes, so a
// client must raise its own limit on received messages (grpc-go:
// MaxCallRecvMsgSize; Envoy has none), and does well to raise its HTTP/2 windows.
// A response of many resources is cut into several, except for clusters in state of
// the world, where one message must hold all, and for listeners, because a proxy
// starts working with the first answer of them; no message can pass 2 GiB, gRPC's
// limit. Requests up to MaxRequestBytes are taken: a state of the
// world request for endpoints names every one of them.
//
// # Who may connect
//
// Listen makes a Unix socket that only its owner can open, and the server asks
// the kernel who connected: a peer whose user id is not allowed is closed before
// a byte is read.
package xds
