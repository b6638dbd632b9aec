// SPDX-License-Identifier: Apache-2.0

package admin

import (
	"fmt"

	"github.com/cncf/xds/go/udpa/annotations"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/descriptorpb"
	"google.golang.org/protobuf/types/known/anypb"
)

// redacted is what Envoy prints in place of a private key; in a bytes field it
// shows as base64, "W3JlZGFjdGVkXQ==".
const redacted = "[redacted]"

// redact replaces, in place, every value that Envoy's own protos call sensitive
// (private keys, passwords, ticket keys), also inside Any messages. It is applied
// to all that is printed: an inline key can stand in a listener as well as in a
// secret, and in a refused resource as well as in one in use.
func redact(m proto.Message) error {
	_, err := redactMessage(m.ProtoReflect())
	return err
}

func redactMessage(m protoreflect.Message) (changed bool, err error) {
	if packed, ok := m.Interface().(*anypb.Any); ok {
		return redactAny(packed)
	}
	m.Range(func(field protoreflect.FieldDescriptor, value protoreflect.Value) bool {
		if sensitive(field) {
			blank(m, field, value)
			changed = true
			return true
		}
		for _, inner := range messagesIn(field, value) {
			innerChanged, innerErr := redactMessage(inner)
			changed = changed || innerChanged
			if innerErr != nil {
				err = innerErr
				return false
			}
		}
		return true
	})
	return changed, err
}

// redactAny packs the message anew only if something in it was blanked.
func redactAny(packed *anypb.Any) (changed bool, err error) {
	inner, err := anypb.UnmarshalNew(packed, proto.UnmarshalOptions{Resolver: allTypes()})
	if err != nil {
		return false, fmt.Errorf("unpacking %s: %w", packed.GetTypeUrl(), err)
	}
	changed, err = redactMessage(inner.ProtoReflect())
	if err != nil || !changed {
		return false, err
	}
	packed.Value, err = proto.MarshalOptions{Deterministic: true}.Marshal(inner)
	if err != nil {
		return false, fmt.Errorf("packing %s: %w", packed.GetTypeUrl(), err)
	}
	return true, nil
}

func sensitive(field protoreflect.FieldDescriptor) bool {
	options, ok := field.Options().(*descriptorpb.FieldOptions)
	if !ok || !proto.HasExtension(options, annotations.E_Sensitive) {
		return false
	}
	value, ok := proto.GetExtension(options, annotations.E_Sensitive).(bool)
	return ok && value
}

// messagesIn is the messages that a field holds: one, several, or none.
func messagesIn(field protoreflect.FieldDescriptor, value protoreflect.Value) []protoreflect.Message {
	var out []protoreflect.Message
	switch {
	case field.IsMap():
		if field.MapValue().Message() == nil {
			return nil
		}
		value.Map().Range(func(_ protoreflect.MapKey, v protoreflect.Value) bool {
			out = append(out, v.Message())
			return true
		})
	case field.Message() == nil:
	case field.IsList():
		for i := range value.List().Len() {
			out = append(out, value.List().Get(i).Message())
		}
	default:
		out = append(out, value.Message())
	}
	return out
}

// blank replaces every text below a sensitive field and drops what isn't text.
func blank(m protoreflect.Message, field protoreflect.FieldDescriptor, value protoreflect.Value) {
	inner := messagesIn(field, value)
	switch {
	case len(inner) > 0 && inner[0].Descriptor().FullName() != "google.protobuf.Any":
		for _, message := range inner {
			message.Range(func(f protoreflect.FieldDescriptor, v protoreflect.Value) bool {
				blank(message, f, v)
				return true
			})
		}
	case field.Cardinality() != protoreflect.Repeated && field.Kind() == protoreflect.StringKind:
		m.Set(field, protoreflect.ValueOfString(redacted))
	case field.Cardinality() != protoreflect.Repeated && field.Kind() == protoreflect.BytesKind:
		m.Set(field, protoreflect.ValueOfBytes([]byte(redacted)))
	default:
		m.Clear(field)
	}
}
