// SPDX-License-Identifier: Apache-2.0

package proxy

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/ambient22/ambient22/internal/proxy/adsclient"
	"github.com/ambient22/ambient22/internal/proxy/config"
	"github.com/ambient22/ambient22/internal/proxy/stats"
)

// Type URLs of the resources.
const (
	typePrefix    = "type.googleapis.com/"
	listenerType  = typePrefix + "envoy.config.listener.v3.Listener"
	clusterType   = typePrefix + "envoy.config.cluster.v3.Cluster"
	endpointType  = typePrefix + "envoy.config.endpoint.v3.ClusterLoadAssignment"
	extensionType = typePrefix + "envoy.config.core.v3.TypedExtensionConfig"
	secretType    = typePrefix + "envoy.extensions.transport_sockets.tls.v3.Secret"
)

// manager puts resources into effect in the right order. It is the handler of
// the ADS stream.
type manager struct {
	p       *Proxy
	decoder *config.Decoder
	stats   managerStats

	mu       sync.Mutex
	ctx      context.Context // ends when nothing new is put into effect any more
	end      context.CancelFunc
	versions map[string]string // the last accepted, by type URL
	answered map[string]bool   // whether anything came, by type URL

	clusters         map[string]*clusterEntry
	endpoints        map[string]*endpointEntry
	listeners        map[string]*listenerEntry
	endpointsChanged bool     // since they were last subscribed
	known            sync.Map // extensions for the data path: name → *config.Workloads
	exts             map[string]*extensionEntry

	askedListeners bool        // LDS is subscribed: the first clusters are ready
	live           atomic.Bool // the first listeners are ready
}

// change is what one kind of resource does with one response.
type change struct {
	take   func(r adsclient.Resource) error
	remove func(name string)
	names  func() []string // all that are held, for a full update
	noun   string
	// removeFirst is for listeners: a new one may want the address of one that
	// goes. A cluster stays until its successors are there.
	removeFirst bool
}

func newManager(p *Proxy) *manager {
	m := &manager{
		p:         p,
		decoder:   config.NewDecoder(p.control.names...),
		stats:     newManagerStats(p.o.Stats),
		versions:  make(map[string]string),
		answered:  make(map[string]bool),
		clusters:  make(map[string]*clusterEntry),
		endpoints: make(map[string]*endpointEntry),
		listeners: make(map[string]*listenerEntry),
		exts:      make(map[string]*extensionEntry),
	}
	m.ctx, m.end = context.WithCancel(context.Background())
	return m
}

// start asks for the first resources. Listeners follow when the clusters are
// ready, as in Envoy, so that no connection meets a cluster that is not there.
func (m *manager) start() { m.p.ads.Subscribe(clusterType, nil) }

// stop puts nothing into effect any more.
func (m *manager) stop() { m.end() }

// Connected counts the stream.
func (m *manager) Connected(up bool) {
	if up {
		m.stats.connected.Set(1)
		m.p.log.Info("connected to the control plane")
		return
	}
	m.stats.connected.Set(0)
}

// Update takes one response.
func (m *manager) Update(u *adsclient.Update) []adsclient.Refusal {
	m.mu.Lock()
	defer m.mu.Unlock()
	c, ok := m.changes(u.TypeURL)
	if !ok {
		return []adsclient.Refusal{{Err: fmt.Errorf("type %q is not supported", u.TypeURL)}}
	}
	began := time.Now()
	refused := m.apply(u, c)
	if len(refused) == 0 {
		m.versions[u.TypeURL] = u.Version
		m.stats.success(u.TypeURL)
	} else {
		m.stats.rejected(u.TypeURL)
	}
	m.p.log.Info("configuration update", "kind", c.noun, "version", u.Version, "received", len(u.Resources),
		"removed", len(u.Removed), "refused", len(refused), "took", time.Since(began))
	m.answered[u.TypeURL] = true
	m.proceed()
	return refused
}

func (m *manager) changes(typeURL string) (change, bool) {
	switch typeURL {
	case clusterType:
		return change{m.takeCluster, m.removeCluster, keys(m.clusters), "cluster", false}, true
	case endpointType:
		return change{m.takeEndpoints, m.removeEndpoints, nil, "endpoints", false}, true
	case listenerType:
		return change{m.takeListener, m.removeListener, keys(m.listeners), "listener", true}, true
	case extensionType:
		return change{m.takeExtension, m.removeExtension, nil, "extension", false}, true
	}
	return change{}, false
}

// apply takes the resources of a response one by one: a bad one does not keep
// the others from being used.
func (m *manager) apply(u *adsclient.Update, c change) []adsclient.Refusal {
	if c.removeFirst {
		c.removeAll(u)
	}
	var refused []adsclient.Refusal
	seen := make(map[string]bool, len(u.Resources))
	for _, r := range u.Resources {
		err := check(r, seen)
		seen[r.Name] = true
		if err == nil {
			err = c.take(r)
		}
		if err != nil {
			refused = append(refused, adsclient.Refusal{Name: r.Name, Err: fmt.Errorf("%s: %w", c.noun, err)})
		}
	}
	if !c.removeFirst {
		c.removeAll(u)
	}
	return refused
}

// removeAll removes what the response says is gone.
func (c *change) removeAll(u *adsclient.Update) {
	for _, name := range u.Removed {
		c.remove(name)
	}
	if !u.Full || c.names == nil {
		return
	}
	left := make(map[string]bool, len(u.Resources))
	for _, r := range u.Resources {
		left[r.Name] = true
	}
	for _, name := range c.names() {
		if !left[name] {
			c.remove(name)
		}
	}
}

func check(r adsclient.Resource, seen map[string]bool) error {
	switch {
	case r.Name == "":
		return fmt.Errorf("resource has no name")
	case seen[r.Name]:
		return fmt.Errorf("resource is there twice")
	case r.Body == nil:
		return fmt.Errorf("resource has no body")
	}
	return nil
}

// proceed does what the last change made possible.
func (m *manager) proceed() {
	m.subscribeEndpoints()
	if m.answered[clusterType] {
		m.openListeners()
	}
	if !m.live.Load() && m.answered[listenerType] && !m.warmingListeners() {
		m.live.Store(true)
		m.p.log.Info("first configuration is in effect", "listeners", len(m.listeners), "clusters", len(m.clusters))
	}
}

// openListeners asks for listeners once every cluster of the first response is
// ready.
func (m *manager) openListeners() {
	if m.askedListeners {
		return
	}
	for _, e := range m.clusters {
		if e.active == nil && e.warming != nil {
			return
		}
	}
	m.askedListeners = true
	m.p.ads.Subscribe(listenerType, nil)
}

func (m *manager) warmingListeners() bool {
	for _, e := range m.listeners {
		if e.active == nil && e.warming != nil {
			return true
		}
	}
	return false
}

// Ready reports whether the first configuration is in effect.
func (p *Proxy) Ready() bool { return p.manager.live.Load() }

func keys[V any](entries map[string]V) func() []string {
	return func() []string {
		names := make([]string, 0, len(entries))
		for name := range entries {
			names = append(names, name)
		}
		return names
	}
}

// managerStats are the counters of configuration.
type managerStats struct {
	r         *stats.Registry
	connected *stats.Value
}

func newManagerStats(r *stats.Registry) managerStats {
	return managerStats{r: r, connected: r.Gauge("control_plane.connected_state")}
}

// prefixes are Envoy's names for the subscriptions.
func (s managerStats) prefix(typeURL string) string {
	switch typeURL {
	case listenerType:
		return "listener_manager.lds."
	case clusterType:
		return "cluster_manager.cds."
	case endpointType:
		return "cluster_manager.eds."
	}
	return "extension_config_discovery."
}

func (s managerStats) success(typeURL string) {
	s.r.Counter(s.prefix(typeURL) + "update_success").Inc()
}
func (s managerStats) rejected(typeURL string) {
	s.r.Counter(s.prefix(typeURL) + "update_rejected").Inc()
}
