// SPDX-License-Identifier: Apache-2.0

// Package proxy is the embedded data plane: it takes an Envoy bootstrap, gets
// everything else over xDS exactly as Envoy would, and executes it with Envoy's
// semantics as far as the ambient data path of September 2022 uses them. What a
// resource asks beyond that is refused by name, never ignored.
//
// The parts: adsclient speaks xDS; config decodes resources, strictly; upstream
// executes clusters, listener executes listeners, secret keeps certificates;
// this package orders their changes (a cluster or listener waits until what it
// needs has arrived) and reports their state.
//
// It differs from Envoy on purpose in this: it is not ready before the first
// configuration came, however long that takes; connections of a changed or
// removed listener take no new requests but are not cut off after a drain time;
// tunnels have neither a route timeout nor a stream idle timeout; connections that
// carry tunnels are opened from the proxy's own address, whatever original_src
// says, because they are shared by many sources.
//
// In deciding who may connect it is stricter than Envoy: network RBAC filters are
// asked before the upstream connection is opened and not with the first byte, so
// that nobody who stays silent gets to a server that speaks first; the remote_ip of
// a request is that of its connection, whatever x-forwarded-for says; a certificate
// is needed to match any principal, also the one that is left out; and a header
// that names a tunnel's target must be there once, in the one usual form.
package proxy
