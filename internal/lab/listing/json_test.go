// SPDX-License-Identifier: Apache-2.0

package listing

import (
	"encoding/json"
	"slices"
	"strings"
	"testing"
)

// fill makes JSON that a pattern describes, with something in every place that
// the listing leaves out.
func fill(p pattern) any {
	switch v := p.(type) {
	case anyValue:
		if v.array {
			return []any{map[string]any{"left": "out"}}
		}
		return map[string]any{"left": "out"}
	case objectPat:
		o := map[string]any{}
		for _, name := range v.names {
			o[name] = fill(v.fields[name])
		}
		return o
	case arrayPat:
		out := []any{}
		if v.cut {
			out = append(out, map[string]any{"left": "out"})
		}
		for _, e := range v.elems {
			out = append(out, fill(e))
		}
		return out
	case scalarPat:
		var value any
		if err := json.Unmarshal([]byte(v.text), &value); err != nil {
			return err.Error()
		}
		return value
	}
	return nil
}

func patternOf(t *testing.T, l *Listing) pattern {
	t.Helper()
	lines, err := l.corrected()
	if err != nil {
		t.Fatal(err)
	}
	p, err := parsePattern(strings.Join(lines, "\n"))
	if err != nil {
		t.Fatalf("listing %02d: %v", l.Number, err)
	}
	return p
}

func jsonListings(t *testing.T) (*Set, []*Listing) {
	set := load(t)
	var out []*Listing
	for i := range set.Listings {
		if set.Listings[i].Get != "" {
			out = append(out, &set.Listings[i])
		}
	}
	if len(out) != 7 {
		t.Fatalf("got %d JSON listings, want 7", len(out))
	}
	return set, out
}

// dumpWith puts an entry where the config_dump has entries of that kind, after
// another one.
func dumpWith(t *testing.T, l *Listing, entry any) string {
	t.Helper()
	section := sections[l.Find.Kind].arrays[0]
	data, err := json.Marshal(map[string]any{"configs": []any{
		map[string]any{"bootstrap": map[string]any{}},
		map[string]any{section: []any{map[string]any{"name": "another"}, entry}},
	}})
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}

func TestSampleOfEveryJSONListingIsReproduced(t *testing.T) {
	set, listings := jsonListings(t)
	for _, l := range listings {
		r := set.Compare(l, dumpWith(t, l, fill(patternOf(t, l))), nil)
		if r.Status != Reproduced {
			t.Errorf("listing %02d: %s", l.Number, r.Detail)
		}
	}
}

// visit calls f for every container in v with a function that puts another
// value into one of its places, or removes it with the value gone.
func visit(v any, replace func(any), f func(set func(any), old any, name string)) {
	switch c := v.(type) {
	case map[string]any:
		for _, name := range sortedNames(c) {
			old := c[name]
			put := func(v any) { c[name] = v }
			f(func(v any) {
				if v == gone {
					delete(c, name)
					return
				}
				put(v)
			}, old, name)
			visit(old, put, f)
		}
	case []any:
		for i, old := range c {
			put := func(v any) { c[i] = v }
			f(func(v any) {
				if v == gone {
					replace(slices.Delete(slices.Clone(c), i, i+1))
					return
				}
				replace(c)
				put(v)
			}, old, "")
			visit(old, put, f)
		}
	}
}

type nothing struct{}

var gone any = nothing{}

func leftOut(v any) bool {
	o, ok := v.(map[string]any)
	return ok && o["left"] == "out"
}

func leftOutArray(v any) bool {
	a, ok := v.([]any)
	return ok && len(a) == 1 && leftOut(a[0])
}

func TestEveryFieldOfAJSONListingCounts(t *testing.T) {
	set, listings := jsonListings(t)
	checked := 0
	for _, l := range listings {
		root := fill(patternOf(t, l))
		check := func(what, name string) {
			checked++
			r := set.Compare(l, dumpWith(t, l, root), nil)
			if r.Status == Reproduced {
				t.Errorf("listing %02d with %s %q counts as reproduced", l.Number, what, name)
			}
		}
		visit(root, func(any) {}, func(put func(any), old any, name string) {
			if leftOut(old) || name == "left" || old == "out" {
				return
			}
			put(gone)
			check("no field or element", name)
			put(old)
			if slices.Contains(freeFields, name) {
				return
			}
			for _, other := range []any{"another", 7.0, nil, []any{}} {
				put(other)
				if _, array := other.([]any); array && leftOutArray(old) {
					continue // [...] may be empty
				}
				check("another value in", name)
			}
			put(old)
		})
		if r := set.Compare(l, dumpWith(t, l, root), nil); r.Status != Reproduced {
			t.Fatalf("listing %02d: the test did not put everything back: %s", l.Number, r.Detail)
		}
	}
	if checked < 1000 {
		t.Errorf("only %d changes were checked", checked)
	}
}

func TestJSONRules(t *testing.T) {
	tests := []struct {
		name, listing, live string
		same                bool
	}{
		{"order of fields is free", `{"a":1,"b":2}`, `{"b":2,"a":1}`, true},
		{"more fields", `{"a":1}`, `{"a":1,"b":2}`, true},
		{"a number is no string", `{"a":"1"}`, `{"a":1}`, false},
		{"an empty object is empty", `{"match":{}}`, `{"match":{"tunnel":"h2"}}`, false},
		{"anything stands for an object", `{"a":{...}}`, `{"a":{"b":1}}`, true},
		{"anything in braces is no array", `{"a":{...}}`, `{"a":[1]}`, false},
		{"anything in brackets", `{"a":[...]}`, `{"a":[]}`, true},
		{"more elements", `[1]`, `[1,2]`, false},
		{"an excerpt has elements", `[{...},...]`, `[]`, false},
		{"an excerpt's elements in order", `[1,2,...]`, `[0,1,5,2]`, true},
		{"an excerpt's elements in another order", `[1,2,...]`, `[2,1]`, false},
		{"one element shown, others around", `[{"a":1},{...}]`, `[{"a":0},{"a":1},{"a":2}]`, true},
		{"a cut empty object", `[{},...]`, `[{"a":1}]`, true},
		{"trailing comma and ellipsis member", `{"a":1,{...},}`, `{"a":1,"z":2}`, true},
		{"version and time are free", `{"version_info":"x","last_updated":"y"}`, `{"version_info":"1","last_updated":"2"}`, true},
		{"version must be there", `{"version_info":"x"}`, `{}`, false},
		{"version must not be empty", `{"version_info":"x"}`, `{"version_info":""}`, false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			p, err := parsePattern(tt.listing)
			if err != nil {
				t.Fatal(err)
			}
			live, err := decode(tt.live)
			if err != nil {
				t.Fatal(err)
			}
			if bad, _ := matchEntry(p, live); (bad == nil) != tt.same {
				t.Errorf("got %v, want same %v", bad, tt.same)
			}
		})
	}
}

func TestPatternErrors(t *testing.T) {
	for _, text := range []string{`{"a" 1}`, `{"a":1 "b":2}`, `[1 2]`, `{"a":}`, `{"a":1}}`, `"open`, `{"a":1,"a":2}`, ``} {
		if p, err := parsePattern(text); err == nil {
			t.Errorf("%s: got %v, want an error", text, p)
		}
	}
}

func TestEntryThatIsNotThere(t *testing.T) {
	set := load(t)
	l := set.number(20)
	for _, dump := range []string{`{}`, `{"configs":[]}`, `{"configs":[{"static_clusters":[{"cluster":{"name":"virtual_inbound"}}]}]}`} {
		if r := set.Compare(l, dump, nil); r.Status != Differs || !strings.Contains(r.Detail, "config") {
			t.Errorf("%s: got %+v", dump, r)
		}
	}
	if r := set.Compare(l, "no JSON", nil); r.Status != Failed {
		t.Errorf("got %+v, want failed", r)
	}
}
