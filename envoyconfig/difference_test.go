// SPDX-License-Identifier: Apache-2.0

package envoyconfig_test

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
)

// difference is one field of one resource that is not the same in two sets of
// resources. A value that is missing is "".
type difference struct{ Resource, Field, Then, Here string }

// compareResources compares two sets of resources by name.
func compareResources(then, here map[string]any) []difference {
	c := comparison{}
	for _, name := range names(then, here) {
		c.resource = name
		c.values("", then[name], here[name])
	}
	return c.found
}

func names(a, b map[string]any) []string {
	all := maps.Clone(a)
	maps.Copy(all, b)
	return slices.Sorted(maps.Keys(all))
}

type comparison struct {
	resource string
	found    []difference
}

func (c *comparison) values(path string, then, here any) {
	switch a := then.(type) {
	case map[string]any:
		if b, ok := here.(map[string]any); ok {
			c.objects(path, a, b)
			return
		}
	case []any:
		if b, ok := here.([]any); ok {
			c.lists(path, a, b)
			return
		}
	}
	if text(then) != text(here) {
		c.found = append(c.found, difference{Resource: c.resource, Field: path, Then: text(then), Here: text(here)})
	}
}

func (c *comparison) objects(path string, then, here map[string]any) {
	for _, key := range names(then, here) {
		below := key
		if path != "" {
			below = path + "." + key
		}
		c.values(below, then[key], here[key])
	}
}

// lists pairs elements by their names, because 2022 kept no order of chains; those
// without a partner of their name are paired in order, and so are those without a
// name.
func (c *comparison) lists(path string, then, here []any) {
	partners := map[string]any{}
	var rest []any
	for _, b := range here {
		if name := nameOf(b); name != "" && hasName(then, name) {
			partners[name] = b
		} else {
			rest = append(rest, b)
		}
	}
	for i, a := range then {
		at := fmt.Sprintf("%s[%d]", path, i)
		name := nameOf(a)
		if name != "" {
			at = fmt.Sprintf("%s[%s]", path, name)
		}
		partner, ok := partners[name]
		if !ok && len(rest) > 0 {
			partner, rest = rest[0], rest[1:]
		}
		c.values(at, a, partner)
	}
	for _, b := range rest {
		c.values(path+"[+]", nil, b)
	}
}

func hasName(list []any, name string) bool {
	return slices.ContainsFunc(list, func(v any) bool { return nameOf(v) == name })
}

// nameOf is the name of an object, "" where it has none.
func nameOf(v any) string {
	object, _ := v.(map[string]any)
	name, _ := object["name"].(string)
	return name
}

func text(v any) string {
	switch v := v.(type) {
	case nil:
		return ""
	case string:
		return v
	}
	body, err := json.Marshal(v)
	if err != nil {
		return fmt.Sprint(v)
	}
	return string(body)
}
