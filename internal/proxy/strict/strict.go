// SPDX-License-Identifier: Apache-2.0

// Package strict refuses what a program does not execute. A Schema lists the
// message types and fields that are understood; Check walks a message and names
// the first thing set in it that is not on the list: a field, an enum value, a
// message packed in an Any, bytes of a field that the message type itself does
// not know. What is not set is never looked at.
package strict

import (
	"fmt"
	"hash/maphash"

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
func (s Schema) Check(m proto.Message) error { return NewChecker(s).Check(m) }

// Error is what was found, and where.
type Error struct {
	Path string // of the field in proto names; "" for the message itself
	Err  error
}

func (e *Error) Error() string {
	if e.Path == "" {
		return e.Err.Error()
	}
	return e.Path + ": " + e.Err.Error()
}

// Unwrap gives the error without its place.
func (e *Error) Unwrap() error { return e.Err }

// Checker checks one message after the other and remembers which packed messages
// it has found good: in a large listener the same are there thousands of times. It
// is for one goroutine.
type Checker struct {
	schema Schema
	// good are the hashes of packed messages, of 128 bits because two of them with
	// the same hash would be taken for one.
	good     map[[2]uint64]bool
	seeds    [2]maphash.Seed
	unpacked map[*anypb.Any]proto.Message // of the message checked last
}

// NewChecker makes a Checker.
func NewChecker(s Schema) *Checker {
	return &Checker{
		schema:   s,
		good:     make(map[[2]uint64]bool),
		seeds:    [2]maphash.Seed{maphash.MakeSeed(), maphash.MakeSeed()},
		unpacked: make(map[*anypb.Any]proto.Message),
	}
}

// Check is the schema's Check. The error is an *Error, or that of the message's
// own definition.
func (c *Checker) Check(m proto.Message) error {
	clear(c.unpacked)
	if err := c.message(m.ProtoReflect()); err != nil {
		return err
	}
	return validate(m)
}

// Message is what an Any holds that the message checked last has somewhere: it
// was unpacked to be checked, and need not be once more.
func (c *Checker) Message(a *anypb.Any) (proto.Message, error) {
	if m := c.unpacked[a]; m != nil {
		return m, nil
	}
	return a.UnmarshalNew()
}

// validate asks the message about the constraints of its own definition; it
// does not look into packed messages.
func validate(m proto.Message) error {
	if v, ok := m.(interface{ Validate() error }); ok {
		return v.Validate()
	}
	return nil
}

// message checks one message. The path of an error is put together on the way
// back: nearly always there is none.
func (c *Checker) message(m protoreflect.Message) error {
	if a, ok := m.Interface().(*anypb.Any); ok {
		return c.packed(a)
	}
	name := m.Descriptor().FullName()
	fields, ok := c.schema[name]
	if !ok {
		return fault("type %s is not supported", name)
	}
	if raw := m.GetUnknown(); len(raw) > 0 {
		num, _, _ := protowire.ConsumeField(raw)
		return fault("message %s has the unknown field number %d", name, num)
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
			return under(string(fd.Name()), fault("field is not supported"))
		}
		if err := c.field(fd, m.Get(fd), rule); err != nil {
			return err
		}
	}
	return nil
}

func (c *Checker) field(fd protoreflect.FieldDescriptor, v protoreflect.Value, rule Rule) error {
	switch {
	case fd.IsList():
		for i, l := 0, v.List(); i < l.Len(); i++ {
			if err := c.value(fd, l.Get(i), rule); err != nil {
				return under(fmt.Sprintf("%s[%d]", fd.Name(), i), err)
			}
		}
		return nil
	case fd.IsMap():
		var err error
		v.Map().Range(func(k protoreflect.MapKey, e protoreflect.Value) bool {
			if err = c.value(fd.MapValue(), e, rule); err != nil {
				err = under(fmt.Sprintf("%s[%q]", fd.Name(), k.String()), err)
			}
			return err == nil
		})
		return err
	}
	if err := c.value(fd, v, rule); err != nil {
		return under(string(fd.Name()), err)
	}
	return nil
}

func (c *Checker) value(fd protoreflect.FieldDescriptor, v protoreflect.Value, rule Rule) error {
	if fd.Enum() != nil && fd.Enum().Values().ByNumber(v.Enum()) == nil {
		return fault("value %d is unknown", v.Enum())
	}
	if rule != nil {
		if err := rule(v); err != nil {
			return &Error{Err: err}
		}
	}
	if fd.Message() == nil {
		return nil
	}
	return c.message(v.Message())
}

// packed checks what an Any holds.
func (c *Checker) packed(a *anypb.Any) error {
	fields, ok := c.schema[a.MessageName()]
	if !ok {
		return fault("type %q is not supported", a.GetTypeUrl())
	}
	if fields == nil {
		return nil
	}
	key := [2]uint64{c.hash(0, a), c.hash(1, a)}
	if c.good[key] {
		return nil
	}
	msg, err := a.UnmarshalNew()
	if err != nil {
		return fault("unpacking %s: %w", a.GetTypeUrl(), err)
	}
	if err := c.message(msg.ProtoReflect()); err != nil {
		return err
	}
	if err := validate(msg); err != nil {
		return &Error{Err: err}
	}
	c.good[key], c.unpacked[a] = true, msg
	return nil
}

func (c *Checker) hash(seed int, a *anypb.Any) uint64 {
	var h maphash.Hash
	h.SetSeed(c.seeds[seed])
	h.WriteString(a.GetTypeUrl())
	h.WriteByte(0)
	h.Write(a.GetValue())
	return h.Sum64()
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

func fault(format string, args ...any) error { return &Error{Err: fmt.Errorf(format, args...)} }

// under puts a field before the path of an error.
func under(field string, err error) error {
	e, ok := err.(*Error)
	switch {
	case !ok:
		return &Error{Path: field, Err: err}
	case e.Path == "":
		e.Path = field
	default:
		e.Path = field + "." + e.Path
	}
	return e
}
