// SPDX-License-Identifier: Apache-2.0

package doctor

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
)

// rejected is an entry of any of config_dump's lists, as far as it tells of a
// rejection: the proxy keeps the words beside what it goes on with.
type rejected struct {
	Name       string `json:"name"`
	ErrorState struct {
		Details string `json:"details"`
		Version string `json:"version_info"`
	} `json:"error_state"`
	Cluster struct {
		Name string `json:"name"`
	} `json:"cluster"`
	Endpoint struct {
		Name string `json:"cluster_name"`
	} `json:"endpoint_config"`
}

// rejections are what the proxy rejected of its configuration, as its config_dump
// says: the resource and the proxy's own words.
func rejections(configDump []byte) ([]string, error) {
	if !bytes.Contains(configDump, []byte(`"error_state"`)) {
		return nil, nil
	}
	var file struct {
		Configs []map[string]json.RawMessage `json:"configs"`
	}
	if err := json.Unmarshal(configDump, &file); err != nil {
		return nil, fmt.Errorf("reading config_dump: %w", err)
	}
	var out []string
	for _, section := range file.Configs {
		for _, key := range slices.Sorted(maps.Keys(section)) {
			var list []rejected
			if !bytes.Contains(section[key], []byte(`"error_state"`)) || json.Unmarshal(section[key], &list) != nil {
				continue
			}
			for _, e := range list {
				if e.ErrorState.Details != "" {
					out = append(out, fmt.Sprintf("%s: %s", e.name(), e.ErrorState.Details))
				}
			}
		}
	}
	return out, nil
}

func (e *rejected) name() string {
	for _, name := range []string{e.Name, e.Cluster.Name, e.Endpoint.Name} {
		if name != "" {
			return name
		}
	}
	return "a resource without a name"
}
