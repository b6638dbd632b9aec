// SPDX-License-Identifier: Apache-2.0

package proxyview

import (
	"bytes"
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"strings"

	"github.com/ambient22/ambient22/internal/proxy/config"
)

// Proxy is one ztunnel's configuration. Resources are decoded when they are asked
// for: a dump may have tens of thousands of them.
type Proxy struct {
	raw []byte
	// Node is how the proxy calls itself: its pod, namespace, IP and node.
	Node struct{ Pod, Namespace, IP, Node, Cluster string }

	listeners, clusters, endpoints, extensions map[string]resource
	listenerNames                              []string // in the dump's order
	clusterNames                               []string
	hasEndpoints                               bool
	secrets                                    map[string]bool // by name: has arrived; nil where the dump has none
	rejected                                   []string

	decoder          *config.Decoder
	decodedListeners map[string]*config.Listener
}

// resource is one resource as the dump has it.
type resource struct {
	body  json.RawMessage
	state string // "active", "warming", "static"
	err   string // why its newest version was refused
}

// dumpFile is as much of a config_dump as is needed to find the resources.
type dumpFile struct {
	Configs []json.RawMessage `json:"configs"`
}

type section struct {
	Type      string `json:"@type"`
	Bootstrap struct {
		Node struct {
			Metadata map[string]any `json:"metadata"`
		} `json:"node"`
		StaticResources struct {
			Clusters []named `json:"clusters"`
		} `json:"static_resources"`
	} `json:"bootstrap"`
	StaticClusters         []clusterEntry  `json:"static_clusters"`
	DynamicActiveClusters  []clusterEntry  `json:"dynamic_active_clusters"`
	DynamicWarmingClusters []clusterEntry  `json:"dynamic_warming_clusters"`
	StaticListeners        []listenerState `json:"static_listeners"`
	DynamicListeners       []listenerEntry `json:"dynamic_listeners"`
	StaticEndpointConfigs  []endpointEntry `json:"static_endpoint_configs"`
	DynamicEndpointConfigs []endpointEntry `json:"dynamic_endpoint_configs"`
	EcdsFilters            []ecdsEntry     `json:"ecds_filters"`
	DynamicActiveSecrets   []secretEntry   `json:"dynamic_active_secrets"`
	DynamicWarmingSecrets  []secretEntry   `json:"dynamic_warming_secrets"`
}

type (
	named        struct{ Name string }
	errorState   struct{ Details string }
	clusterEntry struct {
		Cluster    json.RawMessage `json:"cluster"`
		ErrorState errorState      `json:"error_state"`
	}
	listenerState struct {
		Listener json.RawMessage `json:"listener"`
	}
	listenerEntry struct {
		Name         string        `json:"name"`
		ActiveState  listenerState `json:"active_state"`
		WarmingState listenerState `json:"warming_state"`
		ErrorState   errorState    `json:"error_state"`
	}
	endpointEntry struct {
		EndpointConfig json.RawMessage `json:"endpoint_config"`
		ErrorState     errorState      `json:"error_state"`
	}
	ecdsEntry struct {
		EcdsFilter json.RawMessage `json:"ecds_filter"`
		ErrorState errorState      `json:"error_state"`
	}
	secretEntry struct {
		Name       string     `json:"name"`
		Version    string     `json:"version_info"`
		ErrorState errorState `json:"error_state"`
	}
)

// Read reads a config_dump (with include_eds, or the endpoints are not known).
func Read(dump []byte) (*Proxy, error) {
	var file dumpFile
	if err := json.Unmarshal(dump, &file); err != nil {
		return nil, fmt.Errorf("reading config_dump: %w", at(dump, err))
	}
	if len(file.Configs) == 0 {
		return nil, errors.New("reading config_dump: it has no list \"configs\"; was it taken from /config_dump?include_eds?")
	}
	p := &Proxy{
		raw:       dump,
		listeners: map[string]resource{}, clusters: map[string]resource{},
		endpoints: map[string]resource{}, extensions: map[string]resource{},
		decodedListeners: map[string]*config.Listener{},
	}
	var static []string
	for _, c := range file.Configs {
		var s section
		if err := json.Unmarshal(c, &s); err != nil {
			return nil, fmt.Errorf("reading config_dump: %w", err)
		}
		p.add(&s)
		for _, n := range s.Bootstrap.StaticResources.Clusters {
			static = append(static, n.Name)
		}
	}
	p.decoder = config.NewDecoder(append(static, "sds-grpc")...)
	return p, nil
}

// at adds the line to an error of encoding/json.
func at(text []byte, err error) error {
	var syntax *json.SyntaxError
	if errors.As(err, &syntax) {
		line := 1 + bytes.Count(text[:min(int(syntax.Offset), len(text))], []byte("\n"))
		return fmt.Errorf("line %d: %w", line, err)
	}
	return err
}

func (p *Proxy) add(s *section) {
	switch {
	case strings.HasSuffix(s.Type, "BootstrapConfigDump"):
		p.identify(s)
	case strings.HasSuffix(s.Type, "EndpointsConfigDump"):
		p.hasEndpoints = true
	case strings.HasSuffix(s.Type, "SecretsConfigDump"):
		p.addSecrets(s)
	}
	for _, c := range s.StaticClusters {
		p.addCluster(c, "static")
	}
	for _, c := range s.DynamicWarmingClusters {
		p.addCluster(c, "warming")
	}
	for _, c := range s.DynamicActiveClusters {
		p.addCluster(c, "active")
	}
	for _, l := range s.StaticListeners {
		p.addListener(nameOf(l.Listener), resource{body: l.Listener, state: "static"})
	}
	for _, l := range s.DynamicListeners {
		r := resource{body: l.ActiveState.Listener, state: "active", err: l.ErrorState.Details}
		if r.body == nil {
			r.body, r.state = l.WarmingState.Listener, "warming"
		}
		p.addListener(l.Name, r)
		p.reject(l.Name, l.ErrorState)
	}
	for _, e := range append(s.StaticEndpointConfigs, s.DynamicEndpointConfigs...) {
		name := nameOf(e.EndpointConfig)
		p.endpoints[name] = resource{body: e.EndpointConfig, state: "active"}
		p.reject(name, e.ErrorState)
	}
	for _, e := range s.EcdsFilters {
		name := nameOf(e.EcdsFilter)
		if e.EcdsFilter != nil {
			p.extensions[name] = resource{body: e.EcdsFilter, state: "active", err: e.ErrorState.Details}
		}
		p.reject(name, e.ErrorState)
	}
}

func (p *Proxy) identify(s *section) {
	text := func(key string) string { t, _ := s.Bootstrap.Node.Metadata[key].(string); return t }
	p.Node.Pod, p.Node.Namespace = text("NAME"), text("NAMESPACE")
	p.Node.IP, p.Node.Node, p.Node.Cluster = text("INSTANCE_IPS"), text("NODE_NAME"), text("CLUSTER_ID")
}

// addSecrets notes which secrets have arrived. Their content is no concern here.
func (p *Proxy) addSecrets(s *section) {
	if p.secrets == nil {
		p.secrets = map[string]bool{}
	}
	for _, e := range s.DynamicWarmingSecrets {
		p.secrets[e.Name] = false
		p.reject(e.Name, e.ErrorState)
	}
	for _, e := range s.DynamicActiveSecrets {
		p.secrets[e.Name] = e.Version != "uninitialized"
		p.reject(e.Name, e.ErrorState)
	}
}

func (p *Proxy) addCluster(c clusterEntry, state string) {
	name := nameOf(c.Cluster)
	p.reject(name, c.ErrorState)
	if name == "" {
		return
	}
	if _, known := p.clusters[name]; !known {
		p.clusterNames = append(p.clusterNames, name)
	}
	p.clusters[name] = resource{body: c.Cluster, state: state, err: c.ErrorState.Details}
}

func (p *Proxy) addListener(name string, r resource) {
	if r.body == nil && r.err == "" {
		return
	}
	if _, known := p.listeners[name]; !known {
		p.listenerNames = append(p.listenerNames, name)
	}
	p.listeners[name] = r
}

// reject notes that a resource's newest version was rejected.
func (p *Proxy) reject(name string, e errorState) {
	if e.Details != "" {
		p.rejected = append(p.rejected, fmt.Sprintf("%s: %s", cmp.Or(name, "a resource without a name"), e.Details))
	}
}

// Rejected is what the proxy rejected of its configuration while it goes on with what
// it had: each resource's name and the proxy's own words, in the dump's order.
func (p *Proxy) Rejected() []string { return p.rejected }

// nameOf is a resource's name; that of endpoints is cluster_name.
func nameOf(body json.RawMessage) string {
	var n struct {
		Name        string `json:"name"`
		ClusterName string `json:"cluster_name"`
	}
	if body == nil || json.Unmarshal(body, &n) != nil {
		return ""
	}
	if n.Name != "" {
		return n.Name
	}
	return n.ClusterName
}

// line is where a part of the dump stands, 0 where it is not found. name narrows
// it to the first mention of that name in the part.
func (p *Proxy) line(part json.RawMessage, name string) int {
	i := bytes.Index(p.raw, part)
	if i < 0 || len(part) == 0 {
		return 0
	}
	if name != "" {
		if j := bytes.Index(part, []byte(quoted(name))); j > 0 {
			i += j
		}
	}
	return 1 + bytes.Count(p.raw[:i], []byte("\n"))
}

func quoted(s string) string {
	b, err := json.Marshal(s)
	if err != nil {
		return `"` + s + `"`
	}
	return string(b)
}
