// SPDX-License-Identifier: Apache-2.0

package envoyconfig

import (
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

// Resource is one finished xDS resource: validated, and marshalled exactly once.
type Resource struct {
	Name    string
	Version string        // content hash of Body: same content, same version
	Message proto.Message // the typed form; read-only
	Body    *anypb.Any    // the deterministic wire form that is served
}

// Resources is everything one node's ztunnel is served, each kind sorted by name.
type Resources struct {
	Listeners  []Resource
	Clusters   []Resource
	Endpoints  []Resource
	Extensions []Resource
	// Secrets are the certificates that this ztunnel may ask SDS for.
	Secrets []SecretName
}

// SecretName is one certificate name SDS answers to, and whose it is.
type SecretName struct {
	Name     string // <SPIFFE URI>~<pod>~<UID>, or the bare SPIFFE URI
	Identity string // the SPIFFE URI that the certificate carries
}
