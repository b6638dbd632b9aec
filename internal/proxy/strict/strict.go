// SPDX-License-Identifier: Apache-2.0

// Package strict refuses what a program does not execute. A Schema lists the
// message types and fields that are understood; Check walks a message and names
// the first thing set in it that is not on the list: a field, an enum value, a
// message packed in an Any, bytes of a field that the message type itself does
// not know. What is not set is never looked at.
package strict

import (
	"fmt"

	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/known/anypb"
)

// Schema is what is understood, by the full name of the message type.
type Schema map[protoreflect.FullName]Fields

// Fields are the understood fields of one message type, by proto name. An empty
// set allows none; nil says that the message is data, which is not walked.
type Fields map[protoreflect.Name]Rule

// Rule judges one value that is set; for lists and maps, each element. A nil
// Rule takes any value. Messages are walked after their rule.
type Rule func(v protoreflect.Value) error

// Check walks m. The error begins with the path of the field in proto names,
// such as "filter_chains[2].filters[0].typed_config: ...".
func (s Schema) Check(m proto.Message) error {
	c := &checker{schema: s, seen: make(map[string]bool)}
	if err := c.message("", m.ProtoReflect()); err != nil {
		return err
	}
	return validate(m)
}

// validate asks the message about the constraints of its own definition; it
// does not look into packed messages.
func validate(m proto.Message) error {
	if v, ok := m.(interface{ Validate() error }); ok {
		return v.Validate()
	}
	return nil
}

type checker struct {
	schema Schema
	// seen are the packed messages already found good; in a large listener most
	// are repeated thousands of times.
	seen map[string]bool
}

func (c *checker) message(path string, m protoreflect.Message) error {
	if a, ok := m.Interface().(*anypb.Any); ok {
		return c.packed(path, a)
	}
	name := m.Descriptor().FullName()
	fields, ok := c.schema[name]
	if !ok {
		return at(path, "type %s is not supported", name)
	}
	if raw := m.GetUnknown(); len(raw) > 0 {
		num, _, _ := protowire.ConsumeField(raw)
		return at(path, "message %s has the unknown field number %d", name, num)
	}
	if fields == nil {
		return nil
	}
	all := m.Descriptor().Fields()
	for i := range all.Len() {
		fd := all.Get(i)
		if !m.Has(fd) {
			continue
		}
		rule, ok := fields[fd.Name()]
		if !ok {
			return at(join(path, fd), "field is not supported")
		}
		if err := c.field(join(path, fd), fd, m.Get(fd), rule); err != nil {
			return err
		}
	}
	return nil
}

func (c *checker) field(path string, fd protoreflect.FieldDescriptor, v protoreflect.Value, rule Rule) error {
	switch {
	case fd.IsList():
		for i, l := 0, v.List(); i < l.Len(); i++ {
			if err := c.value(fmt.Sprintf("%s[%d]", path, i), fd, l.Get(i), rule); err != nil {
				return err
			}
		}
		return nil
	case fd.IsMap():
		var err error
		v.Map().Range(func(k protoreflect.MapKey, e protoreflect.Value) bool {
			err = c.value(fmt.Sprintf("%s[%q]", path, k.String()), fd.MapValue(), e, rule)
			return err == nil
		})
		return err
	}
	return c.value(path, fd, v, rule)
}

func (c *checker) value(path string, fd protoreflect.FieldDescriptor, v protoreflect.Value, rule Rule) error {
	if fd.Enum() != nil && fd.Enum().Values().ByNumber(v.Enum()) == nil {
		return at(path, "value %d is unknown", v.Enum())
	}
	if rule != nil {
		if err := rule(v); err != nil {
			return at(path, "%w", err)
		}
	}
	if fd.Message() == nil {
		return nil
	}
	return c.message(path, v.Message())
}

// packed checks what an Any holds.
func (c *checker) packed(path string, a *anypb.Any) error {
	fields, ok := c.schema[a.MessageName()]
	if !ok {
		return at(path, "type %q is not supported", a.GetTypeUrl())
	}
	if fields == nil {
		return nil
	}
	key := a.GetTypeUrl() + "\x00" + string(a.GetValue())
	if c.seen[key] {
		return nil
	}
	msg, err := a.UnmarshalNew()
	if err != nil {
		return at(path, "unpacking %s: %w", a.GetTypeUrl(), err)
	}
	if err := c.message(path, msg.ProtoReflect()); err != nil {
		return err
	}
	if err := validate(msg); err != nil {
		return at(path, "%w", err)
	}
	c.seen[key] = true
	return nil
}

// Enum allows only these values of an enum.
func Enum[E interface {
	~int32
	fmt.Stringer
}](values ...E) Rule {
	return func(v protoreflect.Value) error {
		for _, e := range values {
			if E(v.Enum()) == e {
				return nil
			}
		}
		return fmt.Errorf("value %s is not supported", E(v.Enum()))
	}
}

// String allows only these values of a string.
func String(values ...string) Rule {
	return func(v protoreflect.Value) error {
		for _, s := range values {
			if v.String() == s {
				return nil
			}
		}
		return fmt.Errorf("value %q is not supported", v.String())
	}
}

func join(path string, fd protoreflect.FieldDescriptor) string {
	if path == "" {
		return string(fd.Name())
	}
	return path + "." + string(fd.Name())
}

func at(path, format string, args ...any) error {
	if path == "" {
		return fmt.Errorf(format, args...)
	}
	return fmt.Errorf("%s: %w", path, fmt.Errorf(format, args...))
}
