// SPDX-License-Identifier: Apache-2.0

package proxy

import (
	tlsv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/transport_sockets/tls/v3"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/known/anypb"
)

// secretNames adds the names of all SDS secrets that a message mentions, packed
// messages included.
func secretNames(m protoreflect.Message, names map[string]bool) {
	switch t := m.Interface().(type) {
	case *anypb.Any:
		if inner, err := t.UnmarshalNew(); err == nil {
			secretNames(inner.ProtoReflect(), names)
		}
		return
	case *tlsv3.SdsSecretConfig:
		names[t.GetName()] = true
	}
	m.Range(func(fd protoreflect.FieldDescriptor, v protoreflect.Value) bool {
		switch {
		case fd.IsMap():
			if fd.MapValue().Message() != nil {
				v.Map().Range(func(_ protoreflect.MapKey, e protoreflect.Value) bool {
					secretNames(e.Message(), names)
					return true
				})
			}
		case fd.Message() == nil:
		case fd.IsList():
			for i := range v.List().Len() {
				secretNames(v.List().Get(i).Message(), names)
			}
		default:
			secretNames(v.Message(), names)
		}
		return true
	})
}
