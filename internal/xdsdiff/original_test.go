// SPDX-License-Identifier: Apache-2.0

package xdsdiff_test

import (
	"encoding/json"
	"fmt"
	"os"
	"testing"

	"github.com/ambient22/ambient22/internal/xdsdiff"
)

// TestNothingIsOverlooked changes one value at a time in what the control plane of
// 2022 served, and takes one member or element at a time away: each is reported.
func TestNothingIsOverlooked(t *testing.T) {
	for _, kind := range []string{"listeners", "clusters", "endpoints", "ecds"} {
		name := "../../envoyconfig/testdata/a-" + kind + ".json"
		text, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		var list []any
		if err := json.Unmarshal(text, &list); err != nil {
			t.Fatal(err)
		}
		original := open(t, name)
		dir := t.TempDir()
		changes := 0
		for i := range list {
			eachChange(list[i], fmt.Sprint(i), func(what string) {
				changes++
				changed, err := json.Marshal(list)
				if err != nil {
					t.Fatal(err)
				}
				f, err := openText(dir, "changed", changed)
				if err != nil {
					t.Fatalf("%s: %v", what, err)
				}
				defer f.Close()
				s, err := xdsdiff.Compare(original, f, xdsdiff.Options{Kinds: []string{kindOf(kind)}}, func(xdsdiff.Resource) error { return nil })
				if err != nil || s.Same() {
					t.Errorf("%s: %+v, %v", what, s, err)
				}
			})
		}
		if changes < 10 {
			t.Errorf("%s: only %d changes", name, changes)
		}
	}
}

func kindOf(file string) string {
	if file == "ecds" {
		return "extension"
	}
	return file[:len(file)-1]
}

// eachChange makes one change after the other to what v holds, shows each, and takes
// it back.
func eachChange(v any, path string, show func(what string)) {
	try := func(old, changed any, set func(any), what string) {
		set(changed)
		show(what)
		set(old)
	}
	child := func(c any, set func(any), at string) {
		switch c := c.(type) {
		case string:
			if at[len(at)-5:] != "@type" {
				try(c, c+"1", set, at)
			}
		case float64:
			try(c, c+1, set, at)
		case bool:
			try(c, !c, set, at)
		default:
			eachChange(c, at, show)
		}
	}
	switch v := v.(type) {
	case map[string]any:
		for key, c := range v {
			at := path + "." + key
			child(c, func(x any) { v[key] = x }, at)
			delete(v, key)
			if key != "@type" && key != "name" && key != "clusterName" {
				show(at + " taken away")
			}
			v[key] = c
		}
	case []any:
		for i, c := range v {
			child(c, func(x any) { v[i] = x }, fmt.Sprintf("%s[%d]", path, i))
		}
	}
}
