// SPDX-License-Identifier: Apache-2.0

package listing

import (
	"encoding/json"
	"fmt"
)

// Entry names one resource in an Envoy config_dump.
type Entry struct {
	Kind string `json:"kind,omitempty"` // listener, cluster or endpoint
	Name string `json:"name,omitempty"`
}

// sections says in which arrays of a config_dump the resources of a kind stand,
// and where in such an entry the name is.
var sections = map[string]struct {
	arrays []string
	name   []string
}{
	"listener": {[]string{"dynamic_listeners"}, []string{"name"}},
	"cluster":  {[]string{"dynamic_active_clusters", "dynamic_warming_clusters"}, []string{"cluster", "name"}},
	"endpoint": {[]string{"dynamic_endpoint_configs"}, []string{"endpoint_config", "cluster_name"}},
}

// in finds the entry in a config_dump. Static resources do not count: the
// article's came over xDS.
func (e Entry) in(dump any) (any, error) {
	section, ok := sections[e.Kind]
	if !ok {
		return nil, fmt.Errorf("finding %s %s: unknown kind of resource", e.Kind, e.Name)
	}
	root, _ := dump.(map[string]any)
	configs, _ := root["configs"].([]any)
	if len(configs) == 0 {
		return nil, fmt.Errorf("finding %s %s: the config_dump has no configs", e.Kind, e.Name)
	}
	for _, c := range configs {
		config, _ := c.(map[string]any)
		for _, array := range section.arrays {
			entries, _ := config[array].([]any)
			for _, entry := range entries {
				if field(entry, section.name) == e.Name {
					return entry, nil
				}
			}
		}
	}
	return nil, fmt.Errorf("the config_dump has no %s named %s", e.Kind, e.Name)
}

func field(v any, path []string) any {
	for _, name := range path {
		o, ok := v.(map[string]any)
		if !ok {
			return nil
		}
		v = o[name]
	}
	return v
}

// compareJSON holds one entry of a config_dump against the listing.
func (l *Listing) compareJSON(r Result, expected, output string) Result {
	r.Output = ""
	want, err := parsePattern(expected)
	if err != nil {
		return l.Fail(err)
	}
	dump, err := decode(output)
	if err != nil {
		return l.Fail(err)
	}
	entry, err := l.Find.in(dump)
	if err != nil {
		r.Status, r.Detail = Differs, err.Error()
		return r
	}
	if text, err := json.MarshalIndent(entry, "", " "); err == nil {
		r.Output = string(text)
	}
	bad, more := matchEntry(want, entry)
	r.More = more
	r.Status = Reproduced
	if bad != nil {
		r.Status, r.Detail = Differs, bad.String()
	}
	return r
}

func matchEntry(want pattern, entry any) (*mismatch, []string) {
	m := &matcher{}
	bad := m.match("", want, entry)
	return bad, m.more
}
