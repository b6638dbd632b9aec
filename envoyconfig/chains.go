// SPDX-License-Identifier: Apache-2.0

package envoyconfig

import "google.golang.org/protobuf/encoding/protowire"

// Field numbers of envoy.config.listener.v3.Listener that hold filter chains.
const (
	listenerFieldChains       protowire.Number = 3
	listenerFieldDefaultChain protowire.Number = 25
)

// Chains is how many filter chains a listener has, the default one included, and 0
// for any other resource. It does not decode the listener.
func (r *Resource) Chains() int {
	if r.Type != ListenerType {
		return 0
	}
	chains := 0
	for w := (wireReader{rest: r.Wire}); ; {
		field, ok := w.field()
		switch {
		case !ok:
			return chains
		case field == listenerFieldChains, field == listenerFieldDefaultChain:
			chains++
		}
	}
}
