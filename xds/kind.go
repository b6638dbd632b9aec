// SPDX-License-Identifier: Apache-2.0

package xds

import "github.com/ambient22/ambient22/envoyconfig"

// kind is a resource type.
type kind int

// The kinds, in the order in which subscriptions are answered.
const (
	clusters kind = iota
	endpoints
	listeners
	extensions
	secrets
	kinds // how many there are

	resourceKinds = secrets // those that a set brings along; secrets are made here
)

// String is the kind's name in metrics and logs.
func (k kind) String() string {
	return [kinds]string{"cluster", "endpoint", "listener", "extension", "secret"}[k]
}

// typeURL is the kind's name in the protocol.
func (k kind) typeURL() string {
	return [kinds]string{
		envoyconfig.ClusterType,
		envoyconfig.EndpointType,
		envoyconfig.ListenerType,
		envoyconfig.ExtensionType,
		envoyconfig.SecretType,
	}[k]
}

// kindOf is the kind of a type URL.
func kindOf(typeURL string) (kind, bool) {
	for k := range kinds {
		if k.typeURL() == typeURL {
			return k, true
		}
	}
	return 0, false
}

// listed reports whether asking for nothing means asking for everything.
func (k kind) listed() bool { return k == clusters || k == listeners }

// whole reports whether a state of the world message holds everything that is
// subscribed to, so that a resource's absence says that it is gone. The protocol
// wants it for clusters and listeners. Secrets and extensions are few, and a
// withdrawn secret has no other way to be told. Endpoints are many, and die with
// their cluster.
func (k kind) whole() bool { return k != endpoints }
