// SPDX-License-Identifier: Apache-2.0

// Package state is what the proxy tells others about its configuration: every
// resource it was given, in which version, since when, and what it refused.
//
// The proxy fills a Snapshot on request; the admin server turns one into the
// config_dump of Envoy. A Snapshot is a value of its own: nothing in it changes
// after it was handed out, and its slices are sorted by name. Messages are kept
// in their wire form (Any), because most of them are never looked at again.
package state

import (
	"time"

	bootstrapv3 "github.com/envoyproxy/go-control-plane/envoy/config/bootstrap/v3"
	"google.golang.org/protobuf/types/known/anypb"
)

// Snapshot is the proxy's configuration at one moment.
type Snapshot struct {
	Bootstrap *bootstrapv3.Bootstrap // what the proxy was started with; read-only
	Started   time.Time

	// Dynamic resources. Body holds a Listener, Cluster, ClusterLoadAssignment,
	// TypedExtensionConfig or Secret. Secrets have their private keys replaced.
	Listeners  Kind
	Clusters   Kind
	Endpoints  Kind
	Extensions Kind
	Secrets    Kind
}

// Kind is everything of one resource type.
type Kind struct {
	// Version is the last system_version_info (delta) or version_info (state of
	// the world) that was accepted; "" before the first response.
	Version   string
	Resources []Resource
}

// Resource is one named resource in the states it has at the same time: a
// listener can serve its active version while a newer one warms, an older one
// drains, and the newest was refused.
type Resource struct {
	Name     string
	Active   *Accepted // in use
	Warming  *Accepted // accepted, waiting for secrets, endpoints or extensions
	Draining *Accepted // listeners only: removed, connections still open
	Error    *Rejected // the last update that was refused, until a later one is accepted
}

// Accepted is a version of a resource that the proxy took.
type Accepted struct {
	Version string
	Updated time.Time
	Body    *anypb.Any // nil for a secret that was asked for but has not come
}

// Rejected is a version of a resource that the proxy refused.
type Rejected struct {
	Version string
	Attempt time.Time
	Details string     // names the field and the reason
	Body    *anypb.Any // what was refused
}

// Source is implemented by the proxy.
type Source interface {
	// State is the configuration at this moment.
	State() *Snapshot
	// Ready reports whether the first configuration has arrived and every
	// listener of it takes connections (Envoy's state LIVE).
	Ready() bool
}
