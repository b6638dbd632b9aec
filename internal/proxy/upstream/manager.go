// SPDX-License-Identifier: Apache-2.0

package upstream

import (
	"context"
	"net/netip"
	"sync"

	"google.golang.org/protobuf/types/known/structpb"

	"github.com/ambient22/ambient22/internal/proxy/config"
	"github.com/ambient22/ambient22/internal/proxy/netio"
	"github.com/ambient22/ambient22/internal/proxy/secret"
	"github.com/ambient22/ambient22/internal/proxy/stats"
)

// Manager holds the clusters at work by name.
type Manager struct {
	secrets *secret.Store
	stats   *stats.Registry

	mu       sync.RWMutex
	clusters map[string]*Cluster
	internal InternalDialer
}

// NewManager makes a Manager without clusters.
func NewManager(secrets *secret.Store, registry *stats.Registry) *Manager {
	return &Manager{secrets: secrets, stats: registry, clusters: make(map[string]*Cluster)}
}

// SetInternalDialer names who takes connections to internal listeners; before
// that there are none.
func (m *Manager) SetInternalDialer(d InternalDialer) { m.internal = d }

// New makes a cluster that nobody can use yet: it begins to fetch its secrets,
// and waits to be put to work. Whoever made it closes it.
func (m *Manager) New(cfg *config.Cluster) *Cluster {
	c := &Cluster{
		Config:  cfg,
		secrets: acquire(m.secrets, cfg.Secrets()),
		stats:   sync.OnceValue(func() *clusterStats { return newStats(m.stats, cfg.Name) }),
		dial: func(listener, endpointID string, metadata map[string]*structpb.Struct) (netio.Conn, error) {
			return m.internal(listener, endpointID, metadata)
		},
	}
	c.pool = &pool{c: c, dests: make(map[netip.AddrPort]*dest)}
	if cfg.Type != config.EDS {
		c.SetHosts(cfg.Hosts)
	}
	return c
}

// Put puts a cluster to work in the place of the one of the same name, which is
// returned, or nil.
func (m *Manager) Put(c *Cluster) (old *Cluster) {
	m.mu.Lock()
	defer m.mu.Unlock()
	old = m.clusters[c.Config.Name]
	m.clusters[c.Config.Name] = c
	return old
}

// Remove takes a cluster out of work and returns it, or nil.
func (m *Manager) Remove(name string) *Cluster {
	m.mu.Lock()
	defer m.mu.Unlock()
	c := m.clusters[name]
	delete(m.clusters, name)
	removeStats(m.stats, name)
	return c
}

// Get is the cluster of that name, or nil.
func (m *Manager) Get(name string) *Cluster {
	m.mu.RLock()
	defer m.mu.RUnlock()
	return m.clusters[name]
}

// Connect opens a stream to a host of the named cluster. Errors are *Failure.
func (m *Manager) Connect(ctx context.Context, name string, r *Request) (*Stream, error) {
	c := m.Get(name)
	if c == nil {
		return nil, &Failure{Reason: NoCluster}
	}
	return c.Connect(ctx, r)
}

// Close ends the shared connections of all clusters in order, as long as ctx
// allows. Nothing may be asked of the Manager any more.
func (m *Manager) Close(ctx context.Context) {
	m.mu.RLock()
	defer m.mu.RUnlock()
	var wg sync.WaitGroup
	for _, c := range m.clusters {
		wg.Go(func() { c.pool.close(ctx) })
	}
	wg.Wait()
}
