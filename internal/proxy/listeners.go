// SPDX-License-Identifier: Apache-2.0

package proxy

import (
	"bytes"
	"context"
	"slices"

	"github.com/ambient22/ambient22/internal/proxy/adsclient"
	"github.com/ambient22/ambient22/internal/proxy/config"
	"github.com/ambient22/ambient22/internal/proxy/listener"
	"github.com/ambient22/ambient22/internal/proxy/secret"
	"github.com/ambient22/ambient22/internal/proxy/state"
)

// listenerEntry is one listener by name.
type listenerEntry struct {
	active, warming *listenerVersion
	err             *state.Rejected
}

// listenerVersion is one accepted version of a listener.
type listenerVersion struct {
	accepted   state.Accepted
	config     *config.Listener
	socket     *listener.Socket // nil: it has one already, or needs none
	secrets    []*secret.Entry
	extensions []string
	cancel     context.CancelFunc // of its warming
}

func (m *manager) takeListener(r adsclient.Resource) error {
	e := m.listeners[r.Name]
	if e == nil {
		e = &listenerEntry{}
		m.listeners[r.Name] = e
	}
	if newest := e.newest(); newest != nil && bytes.Equal(newest.accepted.Body.GetValue(), r.Body.GetValue()) {
		e.err = nil
		return nil
	}
	cfg, err := m.decoder.ListenerAfter(e.config(), r.Body)
	if err != nil {
		e.err = rejected(r, err)
		return err
	}
	// A warming version may hold the very address that this one wants.
	e.drop(m)
	socket, err := m.p.listeners.Prepare(cfg)
	if err != nil {
		e.err = rejected(r, err)
		return err
	}
	e.err = nil
	v := &listenerVersion{accepted: accepted(r), config: cfg, socket: socket}
	e.warming = v
	needs := m.acquire(v)
	v.cancel = m.warm("listener "+r.Name, needs, func() { m.useListener(e, v) })
	return nil
}

func (e *listenerEntry) newest() *listenerVersion {
	if e.warming != nil {
		return e.warming
	}
	return e.active
}

// config is what the newest version says, nil without one.
func (e *listenerEntry) config() *config.Listener {
	if newest := e.newest(); newest != nil {
		return newest.config
	}
	return nil
}

// acquire begins to fetch what a listener needs.
func (m *manager) acquire(v *listenerVersion) []need {
	for _, ref := range v.config.Secrets() {
		v.secrets = append(v.secrets, m.p.secrets.Acquire(ref))
	}
	needs := secretNeeds(v.secrets)
	for _, ref := range v.config.Extensions() {
		v.extensions = append(v.extensions, ref.Name)
		needs = append(needs, need{"extension " + ref.Name, m.wantExtension(ref.Name), ref.Timeout})
	}
	return needs
}

// release gives back what acquire took.
func (m *manager) release(v *listenerVersion) {
	for _, s := range v.secrets {
		m.p.secrets.Release(s)
	}
	for _, name := range v.extensions {
		m.forgetExtension(name)
	}
	if v.socket != nil {
		v.socket.Close()
	}
}

// drop gives up a version that is still warming.
func (e *listenerEntry) drop(m *manager) {
	if e.warming == nil {
		return
	}
	e.warming.cancel()
	m.release(e.warming)
	e.warming = nil
}

// useListener puts a warm listener to work.
func (m *manager) useListener(e *listenerEntry, v *listenerVersion) {
	socket := v.socket
	v.socket = nil
	e.warming = nil
	if err := m.p.listeners.Put(v.config, socket, v.secrets); err != nil {
		m.p.log.Error("putting listener to work", "listener", v.config.Name, "error", err)
		e.err = &state.Rejected{Version: v.accepted.Version, Attempt: v.accepted.Updated, Details: err.Error(), Body: v.accepted.Body}
		m.release(v)
		return
	}
	if e.active != nil {
		m.release(e.active)
	}
	e.active = v
	m.p.log.Info("listener is active", "listener", v.config.Name, "version", v.accepted.Version)
}

func (m *manager) removeListener(name string) {
	e := m.listeners[name]
	if e == nil {
		return
	}
	e.drop(m)
	if e.active != nil {
		m.p.listeners.Remove(name)
		m.release(e.active)
	}
	delete(m.listeners, name)
}

// extensionEntry is one filter configuration by name.
type extensionEntry struct {
	users    int
	ready    chan struct{} // closed at the first version
	accepted *state.Accepted
	err      *state.Rejected
}

func (m *manager) wantExtension(name string) <-chan struct{} {
	e := m.exts[name]
	if e == nil {
		e = &extensionEntry{ready: make(chan struct{})}
		m.exts[name] = e
		m.subscribeExtensions()
	}
	e.users++
	return e.ready
}

func (m *manager) forgetExtension(name string) {
	e := m.exts[name]
	e.users--
	if e.users == 0 {
		delete(m.exts, name)
		m.known.Delete(name)
		m.subscribeExtensions()
	}
}

func (m *manager) subscribeExtensions() {
	names := keys(m.exts)()
	slices.Sort(names)
	m.p.ads.Subscribe(extensionType, names)
}

func (m *manager) takeExtension(r adsclient.Resource) error {
	e := m.exts[r.Name]
	if e == nil {
		return nil // asked for before its listener went
	}
	_, workloads, err := m.decoder.Extension(r.Body)
	if err != nil {
		e.err = rejected(r, err)
		return err
	}
	e.err = nil
	first := e.accepted == nil
	a := accepted(r)
	e.accepted = &a
	m.known.Store(r.Name, workloads)
	if first {
		close(e.ready)
	}
	return nil
}

// removeExtension leaves the filter without configuration: connections are
// closed then, as in Envoy.
func (m *manager) removeExtension(name string) {
	m.known.Delete(name)
	if e := m.exts[name]; e != nil && e.accepted != nil {
		e.accepted = &state.Accepted{Updated: e.accepted.Updated}
	}
}

// workloads is the extension for the data path; nil where there is none.
func (m *manager) workloads(name string) *config.Workloads {
	if w, ok := m.known.Load(name); ok {
		return w.(*config.Workloads)
	}
	return nil
}
