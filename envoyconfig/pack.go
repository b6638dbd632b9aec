// SPDX-License-Identifier: Apache-2.0

package envoyconfig

import (
	"errors"
	"fmt"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/anypb"
)

// versionBytes of a digest make a version: 64 bits tell any two contents apart
// that one name will ever have, and stay readable in a config_dump.
const versionBytes = 8

// packer turns messages into their wire form. It keeps the first things that went
// wrong until a resource is finished, so that builders can be written as plain
// expressions.
type packer struct{ err error }

// any validates and wraps m, with the same bytes for the same content.
func (p *packer) any(m proto.Message) *anypb.Any {
	body, err := wrap(m)
	if err != nil {
		p.err = errors.Join(p.err, err)
	}
	return body
}

// validate applies a message's own rules, those of the messages inside included.
func validate(m proto.Message) error {
	if v, ok := m.(interface{ ValidateAll() error }); ok {
		if err := v.ValidateAll(); err != nil {
			return fmt.Errorf("validating %s: %w", m.ProtoReflect().Descriptor().FullName(), err)
		}
	}
	return nil
}

func wrap(m proto.Message) (*anypb.Any, error) {
	kind := m.ProtoReflect().Descriptor().FullName()
	if err := validate(m); err != nil {
		return nil, err
	}
	value, err := proto.MarshalOptions{Deterministic: true}.Marshal(m)
	if err != nil {
		return nil, fmt.Errorf("marshalling %s: %w", kind, err)
	}
	return &anypb.Any{TypeUrl: "type.googleapis.com/" + string(kind), Value: value}, nil
}
