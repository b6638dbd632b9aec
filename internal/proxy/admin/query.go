// SPDX-License-Identifier: Apache-2.0

package admin

import (
	"errors"
	"fmt"
	"net/url"
	"regexp"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
)

// filter reports whether the resource of that name is asked for.
type filter func(name string) bool

// dumpQuery is what a /config_dump request asks for.
type dumpQuery struct {
	endpoints bool   // include_eds
	resource  string // one field of one part, "" for everything
	keep      filter
}

func parseDumpQuery(values url.Values) (dumpQuery, error) {
	if values.Has("mask") {
		return dumpQuery{}, errors.New("mask is not supported; resource=FIELD picks one field, name_regex=REGEX picks by name")
	}
	q := dumpQuery{
		resource: values.Get("resource"),
		keep:     func(string) bool { return true },
	}
	// Asking for one kind of endpoints is asking for endpoints.
	q.endpoints = values.Has("include_eds") || q.resource == "static_endpoint_configs" || q.resource == "dynamic_endpoint_configs"
	if expression := values.Get("name_regex"); expression != "" {
		// The whole name must match, as in Envoy.
		compiled, err := regexp.Compile("^(?:" + expression + ")$")
		if err != nil {
			return dumpQuery{}, fmt.Errorf("reading name_regex: %w", err)
		}
		q.keep = compiled.MatchString
	}
	return q, nil
}

// pick is what of the parts the request asks for: all of them, or the messages
// that stand in the one field it names.
func (q dumpQuery) pick(parts []proto.Message) ([]proto.Message, error) {
	if q.resource == "" {
		return parts, nil
	}
	for _, part := range parts {
		m := part.ProtoReflect()
		field := m.Descriptor().Fields().ByName(protoreflect.Name(q.resource))
		if field == nil || field.Message() == nil {
			continue
		}
		var out []proto.Message
		if m.Has(field) {
			for _, inner := range messagesIn(field, m.Get(field)) {
				out = append(out, inner.Interface())
			}
		}
		return out, nil
	}
	return nil, fmt.Errorf("%s not found in config dump", q.resource)
}
