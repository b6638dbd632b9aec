// SPDX-License-Identifier: Apache-2.0

package envoyconfig

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"

	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/reflect/protoregistry"
	"google.golang.org/protobuf/types/known/anypb"
)

// message writes a message from its wire form. With a URL it is what an Any holds,
// and its type comes first.
func (p *renderer) message(md protoreflect.MessageDescriptor, wire []byte, url, indent string) error {
	if md.FullName() == "google.protobuf.Any" && len(wire) > p.large {
		return p.any(wire, indent)
	}
	if url == "" && (len(wire) <= p.large || ownJSON(md)) {
		return p.whole(md, wire, indent)
	}
	fields, err := split(md, wire)
	if err != nil {
		return err
	}
	keys := slices.Sorted(maps.Keys(fields))
	if url != "" {
		keys = slices.Insert(keys, 0, "@type")
	}
	return p.object(keys, indent, func(key, indent string) error {
		if key == "@type" {
			return p.quoted(url)
		}
		return p.field(fields[key], indent)
	})
}

func (p *renderer) quoted(s string) error {
	text, err := unescaped(s)
	if err == nil {
		p.text(string(text))
	}
	return err
}

// ownJSON reports whether protobuf's JSON shows the message as something else than
// an object of its fields.
func ownJSON(md protoreflect.MessageDescriptor) bool {
	return md.FullName().Parent() == "google.protobuf"
}

// any writes a large Any. What is in it is no type with a JSON form of its own:
// these are small.
func (p *renderer) any(wire []byte, indent string) error {
	var url string
	var value []byte
	err := eachField(wire, func(number protowire.Number, raw, content []byte) {
		switch number {
		case 1:
			url = string(content)
		case 2:
			value = content
		}
	})
	if err != nil {
		return err
	}
	t, err := protoregistry.GlobalTypes.FindMessageByURL(url)
	if err != nil {
		return fmt.Errorf("finding type %s: %w", url, err)
	}
	if ownJSON(t.Descriptor()) {
		return p.whole(anypb.File_google_protobuf_any_proto.Messages().ByName("Any"), wire, indent)
	}
	return p.message(t.Descriptor(), value, url, indent)
}

// part is a field of a message: the wire forms of the messages in it, or else its
// JSON.
type part struct {
	of       protoreflect.FieldDescriptor
	messages [][]byte
	keys     []string // of a map's messages
	text     json.RawMessage
}

// split takes a message apart. Fields that hold no messages are decoded together.
func split(md protoreflect.MessageDescriptor, wire []byte) (map[string]*part, error) {
	parts := map[string]*part{}
	var rest []byte
	var failed error
	err := eachField(wire, func(number protowire.Number, raw, content []byte) {
		fd := md.Fields().ByNumber(number)
		if fd == nil || !holdsMessages(fd) {
			rest = append(rest, raw...)
			return
		}
		f := parts[string(fd.Name())]
		if f == nil {
			f = &part{of: fd}
			parts[string(fd.Name())] = f
		}
		if err := f.add(content); err != nil {
			failed = err
		}
	})
	if err == nil {
		err = failed
	}
	if err != nil || len(rest) == 0 {
		return parts, err
	}
	text, err := decoded(md, rest)
	if err != nil {
		return nil, err
	}
	var plain map[string]json.RawMessage
	if err := json.Unmarshal(text, &plain); err != nil {
		return nil, fmt.Errorf("reading JSON: %w", err)
	}
	for name, text := range plain {
		parts[name] = &part{text: text}
	}
	return parts, nil
}

// holdsMessages reports whether a field's messages can be written one by one.
func holdsMessages(fd protoreflect.FieldDescriptor) bool {
	if fd.IsMap() {
		return fd.MapKey().Kind() == protoreflect.StringKind && fd.MapValue().Kind() == protoreflect.MessageKind
	}
	return fd.Kind() == protoreflect.MessageKind
}

// add takes one more occurrence of the field.
func (f *part) add(content []byte) error {
	switch {
	case f.of.IsMap():
		var key string
		var value []byte
		err := eachField(content, func(number protowire.Number, raw, content []byte) {
			if number == 1 {
				key = string(content)
			} else {
				value = content
			}
		})
		if err != nil {
			return err
		}
		f.keys, f.messages = append(f.keys, key), append(f.messages, value)
	case f.of.IsList() || len(f.messages) == 0:
		f.messages = append(f.messages, content)
	default: // two occurrences are one message, as if they stood behind each other
		f.messages[0] = slices.Concat(f.messages[0], content)
	}
	return nil
}

func (p *renderer) field(f *part, indent string) error {
	switch {
	case f.of == nil:
		return p.indented(f.text, indent)
	case f.of.IsMap():
		byKey := make(map[string][]byte, len(f.keys))
		for i, key := range f.keys {
			byKey[key] = f.messages[i]
		}
		return p.object(slices.Sorted(maps.Keys(byKey)), indent, func(key, indent string) error {
			return p.message(f.of.MapValue().Message(), byKey[key], "", indent)
		})
	case f.of.IsList():
		return p.list(len(f.messages), indent, func(i int, indent string) error {
			return p.message(f.of.Message(), f.messages[i], "", indent)
		})
	}
	return p.message(f.of.Message(), f.messages[0], "", indent)
}

// eachField shows the fields of a wire form: with their tags (raw), and without tag
// and length (content; nil where the field has no length).
func eachField(wire []byte, see func(number protowire.Number, raw, content []byte)) error {
	for len(wire) > 0 {
		number, kind, tag := protowire.ConsumeTag(wire)
		if tag < 0 {
			return fmt.Errorf("reading a field's tag: %w", protowire.ParseError(tag))
		}
		size := protowire.ConsumeFieldValue(number, kind, wire[tag:])
		if size < 0 {
			return fmt.Errorf("reading field %d: %w", number, protowire.ParseError(size))
		}
		raw := wire[:tag+size]
		var content []byte
		if kind == protowire.BytesType {
			content, _ = protowire.ConsumeBytes(wire[tag:])
		}
		see(number, raw, content)
		wire = wire[tag+size:]
	}
	return nil
}
