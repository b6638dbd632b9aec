// SPDX-License-Identifier: Apache-2.0

package xdsdiff

import (
	"bytes"
	"cmp"
	"slices"

	"github.com/cncf/xds/go/udpa/annotations"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/descriptorpb"
)

// schema is what is known of a value's type.
type schema struct {
	form    form
	message protoreflect.MessageDescriptor // of form message
	field   protoreflect.FieldDescriptor   // of forms scalar, list and mapping
}

// form is how a value is to be read.
type form int

const (
	unknown   form = iota // a message without a known type, or anything below one
	data                  // google.protobuf.Struct and Value: JSON itself
	message               // an object with the fields of a message
	packed                // google.protobuf.Any
	scalar                // one number, string, enum ...
	duration              // "1.5s"
	timestamp             // RFC 3339
	list                  // a repeated field
	mapping               // a map field
)

func ofMessage(md protoreflect.MessageDescriptor) schema {
	if md == nil {
		return schema{}
	}
	switch md.FullName() {
	case "google.protobuf.Any":
		return schema{form: packed}
	case "google.protobuf.Duration":
		return schema{form: duration}
	case "google.protobuf.Timestamp":
		return schema{form: timestamp}
	case "google.protobuf.Struct", "google.protobuf.Value", "google.protobuf.ListValue":
		return schema{form: data}
	case "google.protobuf.FieldMask":
		return schema{}
	}
	if isWrapper(md) {
		return schema{form: scalar, field: md.Fields().ByName("value")}
	}
	return schema{form: message, message: md}
}

// isWrapper reports whether the message is one of google/protobuf/wrappers.proto,
// which JSON shows as the value alone.
func isWrapper(md protoreflect.MessageDescriptor) bool {
	return md.ParentFile() != nil && md.ParentFile().Path() == "google/protobuf/wrappers.proto"
}

// ofField is the schema of a field's value.
func ofField(fd protoreflect.FieldDescriptor) schema {
	switch {
	case fd == nil:
		return schema{}
	case fd.IsMap():
		return schema{form: mapping, field: fd}
	case fd.IsList():
		return schema{form: list, field: fd}
	}
	return single(fd)
}

// single is the schema of one element of a field.
func single(fd protoreflect.FieldDescriptor) schema {
	switch {
	case fd.Message() != nil:
		return ofMessage(fd.Message())
	case fd.Enum() != nil && fd.Enum().FullName() == "google.protobuf.NullValue":
		return schema{form: data}
	}
	return schema{form: scalar, field: fd}
}

// elements is the schema of the elements of a list or map.
func (s schema) elements() schema {
	switch s.form {
	case list:
		return single(s.field)
	case mapping:
		return single(s.field.MapValue())
	case data:
		return s
	}
	return schema{}
}

// fits reports whether the value has the JSON form that its schema asks for. One
// that has not is compared as plain JSON.
func (s schema) fits(v value) bool {
	switch s.form {
	case message, packed, mapping:
		return v.kind() == objectNode
	case list:
		return v.kind() == arrayNode
	case scalar, duration, timestamp:
		return v.kind() != objectNode && v.kind() != arrayNode
	}
	return true
}

// field is one field of an object, with its name in the proto file.
type field struct {
	name      string
	of        schema
	v         value
	proto     protoreflect.FieldDescriptor // nil for what the type does not know
	sensitive bool
}

// fields are the fields of an object that are set, by name. Defaults and null count
// as not set, where the type has no way to tell them apart.
func (s schema) fields(v value) []field {
	if s.form == packed {
		return anyFields(v)
	}
	var all []field
	for key, val := range v.members() {
		f := field{name: key.string(), v: val}
		switch s.form {
		case message:
			f.proto = fieldNamed(s.message.Fields(), f.name)
			if f.of = ofField(f.proto); f.proto != nil {
				f.name, f.sensitive = string(f.proto.Name()), isSensitive(f.proto)
			}
		default:
			f.of = s.elements()
		}
		if !f.unset(s.form) {
			all = append(all, f)
		}
	}
	slices.SortStableFunc(all, func(a, b field) int { return cmp.Compare(a.name, b.name) })
	return all
}

// anyFields are those of the message in an Any, without its type.
func anyFields(v value) []field {
	inner := innerType(v)
	if inner.form == message {
		return slices.DeleteFunc(inner.fields(v), func(f field) bool {
			// Some printers give an empty message a value of its own.
			return f.name == "@type" || (f.name == "value" && inner.message.FullName() == "google.protobuf.Empty")
		})
	}
	var all []field
	for key, val := range v.members() {
		f := field{name: key.string(), v: val}
		if f.name == "value" {
			f.of = inner // a type with a JSON form of its own
		}
		if f.name != "@type" && val.kind() != nullNode {
			all = append(all, f)
		}
	}
	slices.SortFunc(all, func(a, b field) int { return cmp.Compare(a.name, b.name) })
	return all
}

func innerType(v value) schema {
	url, ok := v.member("@type")
	if !ok {
		return schema{}
	}
	name := protoreflect.FullName(typeName(url.string()))
	if !name.IsValid() {
		return schema{}
	}
	return ofMessage(messageType(name))
}

// unset reports whether the field counts as absent in an object of that form.
func (f *field) unset(in form) bool {
	if f.v.kind() == nullNode {
		return in != data && f.of.form != data
	}
	if in != message || f.proto == nil || !f.of.fits(f.v) {
		return false
	}
	switch f.of.form {
	case list, mapping:
		return f.v.empty()
	case scalar:
		return !f.proto.HasPresence() && zero(f.proto, scalarText(f.proto, f.v))
	}
	return false
}

func isSensitive(fd protoreflect.FieldDescriptor) bool {
	options, ok := fd.Options().(*descriptorpb.FieldOptions)
	if !ok || !proto.HasExtension(options, annotations.E_Sensitive) {
		return false
	}
	is, ok := proto.GetExtension(options, annotations.E_Sensitive).(bool)
	return ok && is
}

// hidden stands for what must not be printed.
const hidden = `"[hidden]"`

// canonical appends the one form of a value: compact JSON with the proto's field
// names, keys sorted, nothing that is not set. With hide, private keys are left out.
func (s schema) canonical(out []byte, v value, hide bool) []byte {
	if !s.fits(v) {
		s = schema{}
	}
	switch {
	case v.kind() == objectNode:
		return s.canonicalObject(out, v, hide)
	case v.kind() == arrayNode:
		out = append(out, '[')
		of := s.elements()
		for i, e := range v.elements() {
			if i > 0 {
				out = append(out, ',')
			}
			out = of.canonical(out, e, hide)
		}
		return append(out, ']')
	}
	return append(out, s.text(v)...)
}

func (s schema) canonicalObject(out []byte, v value, hide bool) []byte {
	out = append(out, '{')
	if url, ok := v.member("@type"); ok && s.form == packed {
		out = append(append(out, `"@type":`...), quoteOf(url)...)
	}
	for _, f := range s.fields(v) {
		if out[len(out)-1] != '{' {
			out = append(out, ',')
		}
		out = append(append(out, quote(f.name)...), ':')
		if hide && f.sensitive {
			out = append(out, hidden...)
			continue
		}
		out = f.of.canonical(out, f.v, hide)
	}
	return append(out, '}')
}

// text is the one form of a value that is neither object nor array.
func (s schema) text(v value) []byte {
	switch s.form {
	case scalar:
		return scalarText(s.field, v)
	case duration:
		return durationText(v)
	case timestamp:
		return timestampText(v)
	}
	return looseText(v, s.form == data)
}

func (s schema) same(a, b value) bool {
	return bytes.Equal(s.canonical(nil, a, false), s.canonical(nil, b, false))
}
