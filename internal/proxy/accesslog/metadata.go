// SPDX-License-Identifier: Apache-2.0

package accesslog

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"

	"google.golang.org/protobuf/types/known/structpb"
)

// metadata is DYNAMIC_METADATA(NAMESPACE:KEY:KEY...), or with the path as a JSON
// array of strings, which is how header values spelt it in 2022. Texts are
// printed as they are, other values as JSON.
func (op operator) metadata() (part, error) {
	path, err := metadataPath(op.arg)
	if err != nil {
		return nil, fmt.Errorf("operator %q: argument %q: %w", op.name, op.arg, err)
	}
	return func(dst []byte, e *Entry) ([]byte, bool) {
		fields, ok := e.DynamicMetadata[path[0]]
		if !ok {
			return dst, false
		}
		value := lookup(structpb.NewStructValue(fields), path[1:])
		if value == nil {
			return dst, false
		}
		return append(dst, op.cut(render(value))...), true
	}, nil
}

func metadataPath(arg string) ([]string, error) {
	path := strings.Split(arg, ":")
	if strings.HasPrefix(strings.TrimSpace(arg), "[") {
		path = nil
		if err := json.Unmarshal([]byte(arg), &path); err != nil {
			return nil, fmt.Errorf("reading as a JSON array of strings: %w", err)
		}
	}
	if len(path) == 0 || path[0] == "" {
		return nil, errors.New("names no namespace")
	}
	return path, nil
}

// lookup follows a path of keys; nil where it leads nowhere.
func lookup(v *structpb.Value, path []string) *structpb.Value {
	for _, key := range path {
		v = v.GetStructValue().GetFields()[key]
	}
	if _, null := v.GetKind().(*structpb.Value_NullValue); null {
		return nil
	}
	return v
}

func render(v *structpb.Value) string {
	if s, ok := v.GetKind().(*structpb.Value_StringValue); ok {
		return s.StringValue
	}
	// Not protojson, whose spacing changes at random on purpose. AsInterface gives
	// nothing that JSON lacks: it spells infinity as text.
	b, _ := json.Marshal(v.AsInterface())
	return string(b)
}
