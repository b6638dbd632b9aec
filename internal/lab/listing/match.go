// SPDX-License-Identifier: Apache-2.0

package listing

import (
	"encoding/json"
	"fmt"
	"slices"
	"sort"
	"strconv"
	"strings"
)

// freeFields hold when and in which version the proxy got a resource.
var freeFields = []string{"version_info", "last_updated"}

// mismatch is a place where the system's JSON is not as the listing shows it.
type mismatch struct {
	path string
	text string
}

func (m *mismatch) String() string { return m.path + ": " + m.text }

// matcher collects fields that the listing does not show.
type matcher struct {
	more []string
}

// match reports the first place where the value is not as the pattern.
func (m *matcher) match(path string, want pattern, live any) *mismatch {
	switch w := want.(type) {
	case anyValue:
		return matchAny(path, w, live)
	case objectPat:
		return m.object(path, w, live)
	case arrayPat:
		return m.array(path, w, live)
	case scalarPat:
		if isScalar(live) && printed(live) == w.text {
			return nil
		}
		return &mismatch{path, fmt.Sprintf("is %s, the listing has %s", short(live), w.text)}
	}
	return &mismatch{path, "the listing has no value"}
}

func matchAny(path string, w anyValue, live any) *mismatch {
	_, isArray := live.([]any)
	_, isObject := live.(map[string]any)
	if w.array && !isArray || !w.array && !isObject {
		return &mismatch{path, fmt.Sprintf("is %s, another kind of value than the listing's", short(live))}
	}
	return nil
}

func (m *matcher) object(path string, w objectPat, live any) *mismatch {
	o, ok := live.(map[string]any)
	if !ok {
		return &mismatch{path, fmt.Sprintf("is %s, the listing has an object", short(live))}
	}
	// An object that the listing shows empty says something by being empty:
	// "match": {} matches every endpoint.
	if len(w.fields) == 0 && len(o) > 0 {
		return &mismatch{path, fmt.Sprintf("is %s, the listing has {}", short(live))}
	}
	for _, name := range w.names {
		have, ok := o[name]
		at := path + "/" + name
		switch {
		case !ok:
			return &mismatch{at, "the field is missing"}
		case slices.Contains(freeFields, name):
			if s, ok := have.(string); !ok || s == "" {
				return &mismatch{at, "is empty"}
			}
		default:
			if bad := m.match(at, w.fields[name], have); bad != nil {
				return bad
			}
		}
	}
	for _, name := range sortedNames(o) {
		if _, ok := w.fields[name]; !ok {
			m.more = append(m.more, path+"/"+name)
		}
	}
	return nil
}

func (m *matcher) array(path string, w arrayPat, live any) *mismatch {
	elems, ok := live.([]any)
	if !ok {
		return &mismatch{path, fmt.Sprintf("is %s, the listing has an array", short(live))}
	}
	if w.cut {
		return m.excerpt(path, w, elems)
	}
	if len(elems) != len(w.elems) {
		return &mismatch{path, fmt.Sprintf("has %d elements, the listing %d", len(elems), len(w.elems))}
	}
	for i, e := range elems {
		if bad := m.match(path+"/"+strconv.Itoa(i), w.elems[i], e); bad != nil {
			return bad
		}
	}
	return nil
}

// excerpt finds the shown elements, in their order, among the live ones.
func (m *matcher) excerpt(path string, w arrayPat, elems []any) *mismatch {
	if len(elems) == 0 {
		return &mismatch{path, "is empty, the listing shows at least one element"}
	}
	from := 0
	for _, want := range w.elems {
		found := -1
		var nearest *mismatch
		for i := from; i < len(elems) && found < 0; i++ {
			try := &matcher{}
			bad := try.match(path+"/"+strconv.Itoa(i), want, elems[i])
			if bad == nil {
				found = i
				m.more = append(m.more, try.more...)
			} else if nearest == nil || strings.Count(bad.path, "/") >= strings.Count(nearest.path, "/") {
				nearest = bad
			}
		}
		if found < 0 {
			if nearest != nil {
				return nearest
			}
			return &mismatch{path, "an element that the listing shows is missing"}
		}
		from = found + 1
	}
	return nil
}

func isScalar(v any) bool {
	switch v.(type) {
	case map[string]any, []any:
		return false
	}
	return true
}

func sortedNames(o map[string]any) []string {
	names := make([]string, 0, len(o))
	for name := range o {
		names = append(names, name)
	}
	sort.Strings(names)
	return names
}

func short(v any) string {
	s := printed(v)
	if len(s) > 120 {
		s = s[:117] + "..."
	}
	return s
}

func decode(text string) (any, error) {
	dec := json.NewDecoder(strings.NewReader(text))
	dec.UseNumber() // 1025 stays 1025
	var v any
	if err := dec.Decode(&v); err != nil {
		return nil, fmt.Errorf("reading the output as JSON: %w", err)
	}
	return v, nil
}
