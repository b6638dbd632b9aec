// SPDX-License-Identifier: Apache-2.0

package manifest

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	"google.golang.org/protobuf/reflect/protoreflect"
)

// specFaults names everything in a value that a message of this kind has no place
// for: unknown fields, and values of another type.
func specFaults(field string, value any, m protoreflect.MessageDescriptor) []error {
	if value == nil {
		return nil
	}
	content, ok := value.(map[string]any)
	if !ok {
		return []error{wrongKind(field, value, "mapping")}
	}
	var faults []error
	for _, key := range slices.Sorted(maps.Keys(content)) {
		inside := field + "." + key
		if fd := m.Fields().ByJSONName(key); fd != nil {
			faults = append(faults, fieldFaults(inside, content[key], fd)...)
		} else {
			faults = append(faults, unknown(inside))
		}
	}
	return faults
}

func fieldFaults(field string, value any, fd protoreflect.FieldDescriptor) []error {
	switch {
	case value == nil:
		return nil
	case fd.IsMap():
		return mapFaults(field, value, fd)
	case fd.IsList():
		return listFaults(field, value, fd)
	}
	return valueFaults(field, value, fd)
}

// listFaults also refuses an empty list in a rule: it may mean nothing or
// everything, and its writer knows which.
func listFaults(field string, value any, fd protoreflect.FieldDescriptor) []error {
	list, ok := value.([]any)
	if !ok {
		return []error{wrongKind(field, value, "list")}
	}
	if len(list) == 0 && strings.Count(field, ".") > 1 {
		return []error{fmt.Errorf("%s: it is an empty list; leave it out or write what belongs there", field)}
	}
	var faults []error
	for i, v := range list {
		inside := fmt.Sprintf("%s[%d]", field, i)
		if v == nil {
			faults = append(faults, fmt.Errorf("%s: the entry is empty; remove it, or write {} where everything is meant", inside))
			continue
		}
		faults = append(faults, valueFaults(inside, v, fd)...)
	}
	return faults
}

func mapFaults(field string, value any, fd protoreflect.FieldDescriptor) []error {
	content, ok := value.(map[string]any)
	if !ok {
		return []error{wrongKind(field, value, "mapping")}
	}
	var faults []error
	for _, key := range slices.Sorted(maps.Keys(content)) {
		inside := fmt.Sprintf("%s[%s]", field, key)
		if _, err := strconv.ParseUint(key, 10, 32); err != nil && fd.MapKey().Kind() == protoreflect.Uint32Kind {
			faults = append(faults, fmt.Errorf("%s: %q is no number", inside, key))
			continue
		}
		faults = append(faults, fieldFaults(inside, content[key], fd.MapValue())...)
	}
	return faults
}

func valueFaults(field string, value any, fd protoreflect.FieldDescriptor) []error {
	if fd.Message() != nil {
		return specFaults(field, value, fd.Message())
	}
	text, ok := value.(string)
	if !ok {
		return []error{wrongKind(field, value, "string")}
	}
	if fd.Enum() != nil && fd.Enum().Values().ByName(protoreflect.Name(text)) == nil {
		return []error{fmt.Errorf("%s: %q is none of %s", field, text, strings.Join(enumNames(fd.Enum()), ", "))}
	}
	return nil
}

func enumNames(e protoreflect.EnumDescriptor) []string {
	var names []string
	for i := range e.Values().Len() {
		names = append(names, string(e.Values().Get(i).Name()))
	}
	return names
}

// unknown has the words of the decoder of the built-in kinds.
func unknown(field string) error { return fmt.Errorf("unknown field %q", field) }

func wrongKind(field string, value any, want string) error {
	got := kindOf(value)
	if want == "string" && (got == "number" || got == "truth value") {
		return fmt.Errorf("%s: a %s stands where a %s belongs; put it in quotes", field, got, want)
	}
	return fmt.Errorf("%s: a %s stands where a %s belongs", field, got, want)
}

func kindOf(value any) string {
	switch value.(type) {
	case map[string]any:
		return "mapping"
	case []any:
		return "list"
	case string:
		return "string"
	case bool:
		return "truth value"
	case nil:
		return "null"
	}
	return "number"
}
