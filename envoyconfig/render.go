// SPDX-License-Identifier: Apache-2.0

package envoyconfig

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"slices"

	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/reflect/protoregistry"
)

// Render is what RenderTo writes, as one text.
func Render(resources []*Resource) ([]byte, error) {
	var out bytes.Buffer
	if err := RenderTo(&out, resources); err != nil {
		return nil, err
	}
	return out.Bytes(), nil
}

// RenderTo writes resources as a JSON list in the form of a config_dump: field names
// in snake_case, every Any spelled out, keys sorted. The same resources always
// give the same text. It never holds much more than the bytes of one resource.
func RenderTo(w io.Writer, resources []*Resource) error {
	return render(w, func(p *renderer) error { return p.resources(resources, "") })
}

// RenderAll writes all of a node's resources in that form, as an object with a list
// of each kind.
func RenderAll(w io.Writer, r *Resources) error {
	lists := map[string][]*Resource{
		"clusters": r.Clusters, "endpoints": r.Endpoints, "extensions": r.Extensions, "listeners": r.Listeners,
	}
	return render(w, func(p *renderer) error {
		return p.object(slices.Sorted(maps.Keys(lists)), "", func(kind, indent string) error {
			return p.resources(lists[kind], indent)
		})
	})
}

func render(w io.Writer, write func(*renderer) error) error {
	out := bufio.NewWriter(w)
	p := &renderer{out: out, large: decodedAtOnce}
	if err := write(p); err != nil {
		return err
	}
	p.text("\n")
	if err := out.Flush(); err != nil {
		return fmt.Errorf("writing resources: %w", err)
	}
	return nil
}

func (p *renderer) resources(resources []*Resource, indent string) error {
	return p.list(len(resources), indent, func(i int, indent string) error {
		r := resources[i]
		t, err := protoregistry.GlobalTypes.FindMessageByURL(r.Type)
		if err == nil {
			err = p.message(t.Descriptor(), r.Wire.joined(), "", indent)
		}
		if err != nil {
			return fmt.Errorf("rendering %q: %w", r.Name, err)
		}
		return nil
	})
}

// decodedAtOnce is up to how many bytes of wire form a message is decoded and
// printed in one go. Of a larger one the fields are, one after the other.
const decodedAtOnce = 64 << 10

// renderer writes messages from their wire form. What can't be written shows when
// its output is flushed.
type renderer struct {
	out   *bufio.Writer
	large int // see decodedAtOnce
}

func (p *renderer) text(s string) { _, _ = p.out.WriteString(s) }

// list writes n elements between brackets.
func (p *renderer) list(n int, indent string, element func(i int, indent string) error) error {
	if n == 0 {
		p.text("[]")
		return nil
	}
	p.text("[")
	for i := range n {
		p.next(i, indent)
		if err := element(i, indent+step); err != nil {
			return err
		}
	}
	p.text("\n" + indent + "]")
	return nil
}

// object writes members between braces.
func (p *renderer) object(keys []string, indent string, member func(key, indent string) error) error {
	if len(keys) == 0 {
		p.text("{}")
		return nil
	}
	p.text("{")
	for i, key := range keys {
		p.next(i, indent)
		text, err := unescaped(key)
		if err != nil {
			return err
		}
		p.text(string(text) + ": ")
		if err := member(key, indent+step); err != nil {
			return err
		}
	}
	p.text("\n" + indent + "}")
	return nil
}

// step is the indentation of one level.
const step = "  "

// next begins element i of a list or object.
func (p *renderer) next(i int, indent string) {
	if i > 0 {
		p.text(",")
	}
	p.text("\n" + indent + step)
}

// whole writes a message that is decoded at once, or the JSON of what it stands
// for where it is one of protobuf's own types.
func (p *renderer) whole(md protoreflect.MessageDescriptor, wire []byte, indent string) error {
	text, err := decoded(md, wire)
	if err != nil {
		return err
	}
	return p.indented(text, indent)
}

func (p *renderer) indented(text []byte, indent string) error {
	var out bytes.Buffer
	if err := json.Indent(&out, text, indent, step); err != nil {
		return fmt.Errorf("indenting JSON: %w", err)
	}
	_, _ = p.out.Write(out.Bytes())
	return nil
}

// decoded is the JSON of a message, keys sorted.
func decoded(md protoreflect.MessageDescriptor, wire []byte) ([]byte, error) {
	t, err := protoregistry.GlobalTypes.FindMessageByName(md.FullName())
	if err != nil {
		return nil, fmt.Errorf("finding type %s: %w", md.FullName(), err)
	}
	m := t.New().Interface()
	if err := proto.Unmarshal(wire, m); err != nil {
		return nil, fmt.Errorf("decoding %s: %w", md.FullName(), err)
	}
	text, err := protojson.MarshalOptions{UseProtoNames: true}.Marshal(m)
	if err != nil {
		return nil, fmt.Errorf("printing %s: %w", md.FullName(), err)
	}
	// protojson varies its white space on purpose, and keeps the fields' order.
	d := json.NewDecoder(bytes.NewReader(text))
	d.UseNumber()
	var value any
	if err := d.Decode(&value); err != nil {
		return nil, fmt.Errorf("reading JSON: %w", err)
	}
	return unescaped(value)
}

// unescaped is a value as JSON, with < and > as they are.
func unescaped(value any) ([]byte, error) {
	var out bytes.Buffer
	e := json.NewEncoder(&out)
	e.SetEscapeHTML(false)
	if err := e.Encode(value); err != nil {
		return nil, fmt.Errorf("writing JSON: %w", err)
	}
	return bytes.TrimSuffix(out.Bytes(), []byte{'\n'}), nil
}
