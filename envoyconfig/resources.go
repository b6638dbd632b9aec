// SPDX-License-Identifier: Apache-2.0

package envoyconfig

import (
	"fmt"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/anypb"
)

// Type URLs of the resources that a ztunnel subscribes to.
const (
	ListenerType  = "type.googleapis.com/envoy.config.listener.v3.Listener"
	ClusterType   = "type.googleapis.com/envoy.config.cluster.v3.Cluster"
	EndpointType  = "type.googleapis.com/envoy.config.endpoint.v3.ClusterLoadAssignment"
	ExtensionType = "type.googleapis.com/envoy.config.core.v3.TypedExtensionConfig"
	SecretType    = "type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.Secret"
)

// Resource is one finished xDS resource, marshalled exactly once. It never
// changes, and is shared by pointer: as long as a Builder finds the same content,
// it returns the same Resource.
type Resource struct {
	Name    string
	Version string // of what it is made from: with the same name and version it is the same
	Type    string // type URL
	Wire    Wire   // what is served
}

// Message decodes the resource. It is for tools, tests and checks: a listener of
// a large mesh takes seconds.
func (r *Resource) Message() (proto.Message, error) {
	m, err := r.Body().UnmarshalNew()
	if err != nil {
		return nil, fmt.Errorf("decoding %q: %w", r.Name, err)
	}
	return m, nil
}

// Body is the resource as one Any. Its value may be the resource's own bytes, so
// nobody may write to it.
func (r *Resource) Body() *anypb.Any {
	return &anypb.Any{TypeUrl: r.Type, Value: r.Wire.joined()}
}

// Internal reports whether the resource is an internal listener, to which
// endpoints can point.
func (r *Resource) Internal() bool {
	return r.Type == ListenerType && r.Wire.internalListener()
}

// Resources is everything one node's ztunnel is served, each kind sorted by name.
type Resources struct {
	Listeners  []*Resource
	Clusters   []*Resource
	Endpoints  []*Resource
	Extensions []*Resource
	// Secrets are the certificates that this ztunnel may ask SDS for.
	Secrets []SecretName

	proof *Resources // the lists as the Builder returned them
}

// SecretName is one certificate name SDS answers to, and whose it is.
type SecretName struct {
	Name     string // <SPIFFE URI>~<pod>~<UID>, or the bare SPIFFE URI
	Identity string // the SPIFFE URI that the certificate carries
}

// Proven reports whether a Builder made these resources and so vouches that they
// are valid and consistent. It no longer holds when a list is replaced, cut or
// grown; lists that a Builder returned must not be written to.
func (r *Resources) Proven() bool {
	if r.proof == nil || !sameList(r.Secrets, r.proof.Secrets) {
		return false
	}
	was := r.proof.kinds()
	for i, list := range r.kinds() {
		if !sameList(list, was[i]) {
			return false
		}
	}
	return true
}

// prove marks the resources as they are now as proven.
func (r *Resources) prove() {
	lists := *r
	lists.proof = nil
	r.proof = &lists
}

func (r *Resources) kinds() [4][]*Resource {
	return [...][]*Resource{r.Listeners, r.Clusters, r.Endpoints, r.Extensions}
}

// sameList reports whether two slices are one and the same piece of memory, so
// that comparing their elements would be wasted.
func sameList[E any](a, b []E) bool {
	return len(a) == len(b) && (len(a) == 0 || &a[0] == &b[0])
}
