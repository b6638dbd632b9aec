// SPDX-License-Identifier: Apache-2.0

package nodediff

import (
	"embed"
	"fmt"
	"slices"
	"strings"

	"sigs.k8s.io/yaml"
)

// The generations that this project does not make itself are data.
//
//go:embed data
var data embed.FS

// tableOf is a generation's lines as data; see the files for what they say.
type tableOf struct {
	Name     string            `json:"name"`
	Signs    []string          `json:"signs"`    // chains by which it is known
	Defaults map[string]string `json:"defaults"` // of {names}
	Labels   map[string]string `json:"labels"`   // of {names}, for people
	Chains   []chainData       `json:"chains"`
	IPRules  []lineData        `json:"ipRules"`
	Routes   []lineData        `json:"routes"`
}

type chainData struct {
	Table    string     `json:"table"`
	Chain    string     `json:"chain"`
	Head     bool       `json:"head"`     // a built-in chain: others' rules may follow
	AnyOrder bool       `json:"anyOrder"` // its rules do not depend on one another
	Optional bool       `json:"optional"` // compared only where something of it is there
	Needs    string     `json:"needs"`    // compared only where this chain is there
	Unless   string     `json:"unless"`   // or only where it is not
	Rules    []lineData `json:"rules"`
}

type lineData struct {
	Forms   []string `json:"forms"` // after "-A CHAIN "; what stands behind the priority; the route
	Why     string   `json:"why"`
	Spare   bool     `json:"spare"`   // nothing is amiss without it
	Many    bool     `json:"many"`    // once for each value of its {name}
	Without string   `json:"without"` // spare where one of these {names} was found
	Needs   string   `json:"needs"`
	Unless  string   `json:"unless"`
	With    string   `json:"with"` // belongs to a variant
	NotWith string   `json:"notwith"`
	Sign    string   `json:"sign"` // a variant is known by it
	Table   uint32   `json:"table"`
}

// foreignTables reads the tables of the generations.
func foreignTables() ([]*tableOf, error) {
	var out []*tableOf
	for _, name := range []string{"data/sidecar.yaml", "data/inpod.yaml"} {
		text, err := data.ReadFile(name)
		if err != nil {
			return nil, fmt.Errorf("reading the generations: %w", err)
		}
		t := &tableOf{}
		if err := yaml.UnmarshalStrict(text, t); err != nil {
			return nil, fmt.Errorf("reading %s: %w", name, err)
		}
		out = append(out, t)
	}
	return out, nil
}

// fill puts values for {names}.
func fill(form string, values map[string]string) string {
	for {
		start := strings.IndexByte(form, '{')
		if start < 0 {
			return form
		}
		end := strings.IndexByte(form[start:], '}')
		if end < 0 {
			return form
		}
		form = form[:start] + values[form[start+1:start+end]] + form[start+end+1:]
	}
}

// capture holds a line against a form word by word and returns the values of its
// {names}; ok is false where the line is not of this form.
func capture(form, line string) (values map[string]string, ok bool) {
	wants, haves := strings.Fields(form), strings.Fields(line)
	if len(wants) != len(haves) {
		return nil, false
	}
	values = map[string]string{}
	for i, want := range wants {
		if want == haves[i] {
			continue
		}
		start, end := strings.IndexByte(want, '{'), strings.IndexByte(want, '}')
		if start < 0 || end < start {
			return nil, false
		}
		before, name, after := want[:start], want[start+1:end], want[end+1:]
		have := haves[i]
		if len(have) < len(before)+len(after) || !strings.HasPrefix(have, before) || !strings.HasSuffix(have, after) {
			return nil, false
		}
		value := have[len(before) : len(have)-len(after)]
		if old, is := values[name]; is && old != value {
			return nil, false
		}
		values[name] = value
	}
	return values, true
}

// names are the {names} in a form.
func names(form string) []string {
	var out []string
	for _, part := range strings.Split(form, "{")[1:] {
		name, _, is := strings.Cut(part, "}")
		if is && !slices.Contains(out, name) {
			out = append(out, name)
		}
	}
	return out
}
