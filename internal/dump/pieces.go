// SPDX-License-Identifier: Apache-2.0

package dump

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strings"
)

// pieces are the parts of a config_dump that came in several files: whole ones,
// or single listeners, clusters and endpoints as people copy them out of one.
type pieces struct {
	whole   []json.RawMessage // of config_dumps: their configs
	entries map[string][]json.RawMessage
	parts   bool // not only whole ones
	elided  bool // somebody cut something out
}

// The lists in a config_dump that single resources go to, with the messages that
// have them.
const (
	listenerList = "dynamic_listeners"
	clusterList  = "dynamic_active_clusters"
	endpointList = "dynamic_endpoint_configs"

	typeURL = "type.googleapis.com/"
)

func dumpMessages() [][2]string {
	return [][2]string{
		{"envoy.admin.v3.ListenersConfigDump", listenerList},
		{"envoy.admin.v3.ClustersConfigDump", clusterList},
		{"envoy.admin.v3.EndpointsConfigDump", endpointList},
	}
}

// takeJSON finds out what a JSON text is: of Envoy's, or the node controller's
// workloads.
func (n *looseNode) takeJSON(t looseText, f File) error {
	text, elided := fill(f.Text)
	var value any
	if err := json.Unmarshal(text, &value); err != nil {
		return jsonError(f.Name, f.Text, err)
	}
	if o, ok := value.(map[string]any); ok && o["pods"] != nil && o["services"] != nil {
		n.node.Workloads = &Workloads{}
		if err := json.Unmarshal(text, n.node.Workloads); err != nil {
			return jsonError(f.Name, f.Text, err)
		}
		if node := n.node.Workloads.Node; node != "" {
			n.node.Name = node
		}
		return nil
	}
	p := n.pieces[t.space]
	if p == nil {
		p = &pieces{entries: map[string][]json.RawMessage{}}
		n.pieces[t.space] = p
	}
	if !p.add(text) {
		n.gap(t, "JSON, but neither a config_dump nor a listener, cluster or endpoint of one")
		return nil
	}
	p.elided = p.elided || elided
	ns := n.space(t.space)
	ns.Files[KindConfigDump] = append(ns.Files[KindConfigDump], f.Name)
	return nil
}

// add finds a place for one JSON value. It returns false where there is none.
func (p *pieces) add(text json.RawMessage) bool {
	if list := []json.RawMessage(nil); json.Unmarshal(text, &list) == nil {
		known := len(list) > 0
		for _, one := range list {
			known = p.add(one) && known
		}
		return known
	}
	var o map[string]json.RawMessage
	if json.Unmarshal(text, &o) != nil {
		return false
	}
	has := func(key string) bool { return o[key] != nil }
	if has("configs") {
		var configs []json.RawMessage
		if json.Unmarshal(o["configs"], &configs) != nil {
			return false
		}
		p.whole = append(p.whole, configs...)
		return true
	}
	var kind string
	switch messageType(o) {
	case "envoy.config.listener.v3.Listener":
		kind = listenerList
	case "envoy.config.cluster.v3.Cluster":
		kind = clusterList
	case "envoy.config.endpoint.v3.ClusterLoadAssignment":
		kind = endpointList
	}
	switch {
	case kind != "":
		text = wrap(kind, text)
	case strings.HasSuffix(messageType(o), "ConfigDump"):
		p.whole = append(p.whole, text)
		return true
	case has("active_state") || has("activeState"):
		kind = listenerList
	case has("cluster"):
		kind = clusterList
	case has("endpoint_config") || has("endpointConfig"):
		kind = endpointList
	case has("resources"):
		return p.add(o["resources"])
	default:
		return false
	}
	p.parts = true
	p.entries[kind] = append(p.entries[kind], text)
	return true
}

// messageType is the name of the message that an object is: as it says, or as a
// listener, cluster and endpoint give themselves away by their fields.
func messageType(o map[string]json.RawMessage) string {
	var name string
	if json.Unmarshal(o["@type"], &name) == nil && name != "" {
		return strings.TrimPrefix(name, typeURL)
	}
	has := func(keys ...string) bool {
		for _, key := range keys {
			if o[key] != nil {
				return true
			}
		}
		return false
	}
	switch {
	case has("filter_chains", "filterChains", "listener_filters", "listenerFilters"):
		return "envoy.config.listener.v3.Listener"
	case has("cluster_name", "clusterName") && has("endpoints"):
		return "envoy.config.endpoint.v3.ClusterLoadAssignment"
	case has("name") && has("type", "lb_policy", "lbPolicy", "eds_cluster_config", "edsClusterConfig"):
		return "envoy.config.cluster.v3.Cluster"
	}
	return ""
}

// wrap puts a resource into the entry that it would stand in.
func wrap(kind string, resource json.RawMessage) json.RawMessage {
	var o map[string]json.RawMessage
	if json.Unmarshal(resource, &o) != nil {
		return resource
	}
	name, _ := json.Marshal(typeURL + messageType(o)) // strings always can be
	o["@type"] = name
	resource, _ = json.Marshal(o)
	switch kind {
	case listenerList:
		return fmt.Appendf(nil, `{"name": %s, "active_state": {"listener": %s}}`, orEmpty(o["name"]), resource)
	case clusterList:
		return fmt.Appendf(nil, `{"cluster": %s}`, resource)
	}
	return fmt.Appendf(nil, `{"endpoint_config": %s}`, resource)
}

func orEmpty(text json.RawMessage) json.RawMessage {
	if text == nil {
		return json.RawMessage(`""`)
	}
	return text
}

// finish puts the pieces together to one config_dump.
func (p *pieces) finish(ns *Netns) error {
	configs := p.whole
	for _, m := range dumpMessages() {
		message, list := m[0], m[1]
		if len(p.entries[list]) == 0 {
			continue
		}
		config, err := json.Marshal(map[string]any{"@type": typeURL + message, list: p.entries[list]})
		if err != nil {
			return fmt.Errorf("joining the pieces of a config_dump: %w", err)
		}
		configs = append(configs, config)
	}
	if len(configs) == 0 {
		return nil
	}
	text, err := json.MarshalIndent(map[string]any{"configs": configs}, "", " ")
	if err != nil {
		return fmt.Errorf("joining the pieces of a config_dump: %w", err)
	}
	ns.ConfigDump = text
	if p.parts || p.elided {
		ns.Partial[KindConfigDump] = "single resources of it"
	}
	return nil
}

// fill makes JSON of a text in which somebody wrote "..." for what is left out:
// elements of lists and fields of objects go, a value of a field becomes {}.
// Everything else stays where it is, so that errors name the right place.
func fill(text string) (filled []byte, elided bool) {
	filled = []byte(text)
	if !strings.Contains(text, "...") && !strings.Contains(text, "/*") {
		return filled, false
	}
	blank := func(from, to int) {
		for i := from; i < to; i++ {
			if filled[i] != '\n' {
				filled[i] = ' '
			}
		}
	}
	for i := 0; i < len(filled); i++ {
		rest := filled[i:]
		switch {
		case filled[i] == '"':
			i = endOfString(filled, i)
		case bytes.HasPrefix(rest, []byte("{...}")):
			leave(filled, i, i+5, blank)
			elided = true
		case bytes.HasPrefix(rest, []byte("...")):
			leave(filled, i, i+3, blank)
			elided = true
		case bytes.HasPrefix(rest, []byte("/*")):
			end := bytes.Index(rest, []byte("*/"))
			if end < 0 {
				return filled, elided
			}
			blank(i, i+end+2)
			elided = true
		}
	}
	dropCommas(filled)
	return filled, elided
}

// endOfString is where the string that begins at from has its last quote.
func endOfString(text []byte, from int) int {
	for i := from + 1; i < len(text); i++ {
		switch text[i] {
		case '\\':
			i++
		case '"':
			return i
		}
	}
	return len(text)
}

// leave takes out what stands for something left out. A field keeps a value.
func leave(text []byte, from, to int, blank func(from, to int)) {
	before := bytes.TrimRight(text[:from], " \t\r\n")
	blank(from, to)
	if bytes.HasSuffix(before, []byte(":")) {
		copy(text[from:to], "{}")
	}
}

// dropCommas takes out the commas that have nothing to part any more, and
// brackets that close what is not open: who cuts by hand slips.
func dropCommas(text []byte) {
	var last byte   // the last one that is no blank, and what is kept
	var open []byte // the brackets that close what is open
	comma := -1     // where a comma stands that has nothing behind it yet
	for i := 0; i < len(text); i++ {
		switch c := text[i]; c {
		case ' ', '\t', '\r', '\n':
			continue
		case ',':
			if last == '[' || last == '{' || comma >= 0 {
				text[i] = ' '
				continue
			}
			comma = i
		case ']', '}':
			if len(open) == 0 || open[len(open)-1] != c {
				text[i] = ' '
				continue
			}
			if comma >= 0 {
				text[comma] = ' '
			}
			open = open[:len(open)-1]
			comma, last = -1, c
		case '"':
			i = endOfString(text, i)
			comma, last = -1, '"'
		default:
			if c == '{' || c == '[' {
				open = append(open, c+2) // ']' and '}' are two behind in ASCII
			}
			comma, last = -1, c
		}
	}
}
