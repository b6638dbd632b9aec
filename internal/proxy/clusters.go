// SPDX-License-Identifier: Apache-2.0

package proxy

import (
	"bytes"
	"context"
	"time"

	"github.com/ambient22/ambient22/internal/proxy/adsclient"
	"github.com/ambient22/ambient22/internal/proxy/config"
	"github.com/ambient22/ambient22/internal/proxy/secret"
	"github.com/ambient22/ambient22/internal/proxy/state"
	"github.com/ambient22/ambient22/internal/proxy/upstream"
)

// clusterEntry is one cluster by name.
type clusterEntry struct {
	active, warming *clusterVersion
	err             *state.Rejected
}

// clusterVersion is one accepted version of a cluster.
type clusterVersion struct {
	accepted state.Accepted
	cluster  *upstream.Cluster
	cancel   context.CancelFunc // of its warming
}

func (m *manager) takeCluster(r adsclient.Resource) error {
	e := m.clusters[r.Name]
	if e == nil {
		e = &clusterEntry{}
		m.clusters[r.Name] = e
	}
	if newest := e.newest(); newest != nil && bytes.Equal(newest.accepted.Body.GetValue(), r.Body.GetValue()) {
		e.err = nil
		return nil
	}
	cfg, err := m.decoder.Cluster(r.Body)
	if err != nil {
		e.err = rejected(r, err)
		return err
	}
	e.err = nil
	e.drop(m)
	v := &clusterVersion{accepted: accepted(r), cluster: m.p.clusters.New(cfg)}
	e.warming = v
	needs := secretNeeds(v.cluster.Secrets())
	if cfg.Type == config.EDS {
		needs = append(needs, need{"endpoints " + cfg.EDSName, m.wantEndpoints(cfg.EDSName, v.cluster), cfg.EDSTimeout})
	}
	v.cancel = m.warm("cluster "+r.Name, needs, func() { m.useCluster(e, v) })
	return nil
}

func (e *clusterEntry) newest() *clusterVersion {
	if e.warming != nil {
		return e.warming
	}
	return e.active
}

// drop gives up a version that is still warming.
func (e *clusterEntry) drop(m *manager) {
	if e.warming == nil {
		return
	}
	e.warming.cancel()
	m.closeCluster(e.warming.cluster)
	e.warming = nil
}

// useCluster puts a warm cluster to work.
func (m *manager) useCluster(e *clusterEntry, v *clusterVersion) {
	e.active, e.warming = v, nil
	if old := m.p.clusters.Put(v.cluster); old != nil {
		m.closeCluster(old)
	}
}

func (m *manager) closeCluster(c *upstream.Cluster) {
	m.forgetEndpoints(c)
	c.Close(m.p.secrets)
}

func (m *manager) removeCluster(name string) {
	e := m.clusters[name]
	if e == nil {
		return
	}
	e.drop(m)
	if old := m.p.clusters.Remove(name); old != nil {
		m.closeCluster(old)
	}
	delete(m.clusters, name)
}

func secretNeeds(entries []*secret.Entry) []need {
	var needs []need
	for _, e := range entries {
		needs = append(needs, need{"secret " + e.Ref.Name, e.Ready(), e.Ref.Timeout})
	}
	return needs
}

func accepted(r adsclient.Resource) state.Accepted {
	return state.Accepted{Version: r.Version, Updated: time.Now(), Body: r.Body}
}

func rejected(r adsclient.Resource, err error) *state.Rejected {
	return &state.Rejected{Version: r.Version, Attempt: time.Now(), Details: err.Error(), Body: r.Body}
}
