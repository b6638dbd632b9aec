// SPDX-License-Identifier: Apache-2.0

package listener

import (
	"context"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"google.golang.org/protobuf/types/known/structpb"

	"github.com/ambient22/ambient22/internal/proxy/config"
	"github.com/ambient22/ambient22/internal/proxy/netio"
	"github.com/ambient22/ambient22/internal/proxy/secret"
	"github.com/ambient22/ambient22/internal/proxy/stats"
	"github.com/ambient22/ambient22/internal/proxy/upstream"
)

// Options are what all listeners share.
type Options struct {
	Logger    *slog.Logger
	AccessLog func(line []byte) // takes one finished line; must not keep it
	Clusters  *upstream.Manager
	Workloads func(name string) *config.Workloads // nil while that extension is missing
	Stats     *stats.Registry
	ClusterID string // of this mesh, as baggage names it
}

// Set is all listeners at work.
type Set struct {
	o       Options
	buffers netio.Buffers
	running sync.WaitGroup
	conns   tracker
	latest  atomic.Int64 // when the latest connection came, in nanoseconds since 1970

	ctx  context.Context // ends when the proxy stops taking connections
	stop context.CancelFunc

	mu     sync.RWMutex
	byName map[string]*active
	byAddr map[netip.AddrPort]*active
}

// NewSet makes a Set without listeners.
func NewSet(o Options) *Set {
	ctx, stop := context.WithCancel(context.Background())
	s := &Set{o: o, ctx: ctx, stop: stop, byName: make(map[string]*active), byAddr: make(map[netip.AddrPort]*active)}
	s.conns.open = make(map[netio.Conn]struct{})
	return s
}

// active is one listener at work.
type active struct {
	set     *Set
	socket  net.Listener // nil: internal
	config  atomic.Pointer[bound]
	stats   *listenerStats
	tunnels tunnels
}

// bound is a configuration with the secrets it uses.
type bound struct {
	*config.Listener
	secrets map[string]*secret.Entry
}

// Socket is a bound address that does not listen yet; see Prepare.
type Socket struct{ *netio.BoundSocket }

// Prepare binds the address of l, so that a conflict is known before the
// listener is accepted. It returns nil where no new socket is needed: for an
// internal listener, and where the one at work has the same socket.
func (s *Set) Prepare(l *config.Listener) (*Socket, error) {
	s.mu.RLock()
	old := s.byName[l.Name]
	other := s.byAddr[l.Addr]
	s.mu.RUnlock()
	if l.Internal() || old != nil && sameSocket(old.config.Load().Listener, l) {
		return nil, nil
	}
	if other != nil && other != old {
		return nil, fmt.Errorf("address %s is taken by listener %q", l.Addr, other.config.Load().Name)
	}
	if old != nil && old.config.Load().Addr == l.Addr {
		// The same address with other options: bound when the old one closes.
		return nil, nil
	}
	b, err := netio.Bind(l.Addr, listenOptions(l))
	if err != nil {
		return nil, err
	}
	return &Socket{b}, nil
}

func sameSocket(a, b *config.Listener) bool {
	return a.Addr == b.Addr && a.Transparent == b.Transparent && slices.Equal(a.SocketOptions, b.SocketOptions)
}

func listenOptions(l *config.Listener) netio.ListenOptions {
	return netio.ListenOptions{Transparent: l.Transparent, Options: l.SocketOptions}
}

// Put puts a listener to work, in the place of the one of the same name. socket
// is what Prepare returned for it.
func (s *Set) Put(l *config.Listener, socket *Socket, secrets []*secret.Entry) error {
	b := &bound{Listener: l, secrets: make(map[string]*secret.Entry)}
	for _, e := range secrets {
		b.secrets[e.Ref.Name] = e
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	old := s.byName[l.Name]
	if old != nil && (l.Internal() && old.config.Load().Internal() || sameSocket(old.config.Load().Listener, l)) {
		old.config.Store(b)
		old.drainChanged()
		return nil
	}
	if old != nil {
		s.remove(old)
	}
	a := &active{set: s, stats: newListenerStats(s.o.Stats, l.StatPrefix)}
	a.config.Store(b)
	if !l.Internal() {
		ln, err := listen(l, socket)
		if err != nil {
			return err
		}
		a.socket = ln
		s.byAddr[l.Addr] = a
		s.running.Go(func() { a.accept(ln) })
	}
	s.byName[l.Name] = a
	return nil
}

func listen(l *config.Listener, socket *Socket) (*net.TCPListener, error) {
	var err error
	if socket == nil {
		b, bindErr := netio.Bind(l.Addr, listenOptions(l))
		socket, err = &Socket{b}, bindErr
	}
	if err != nil {
		return nil, err
	}
	return socket.Listen()
}

// Remove stops a listener; its connections go on.
func (s *Set) Remove(name string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if a := s.byName[name]; a != nil {
		s.remove(a)
	}
}

// remove takes a out. The caller holds mu.
func (s *Set) remove(a *active) {
	l := a.config.Load()
	delete(s.byName, l.Name)
	a.drainAll()
	if a.socket != nil {
		delete(s.byAddr, l.Addr)
		a.socket.Close()
	}
}

// at is the listener that a connection to addr belongs to: the one of exactly
// that address, or of that port on every address; nil where there is none.
func (s *Set) at(addr netip.AddrPort) *active {
	s.mu.RLock()
	defer s.mu.RUnlock()
	if a := s.byAddr[addr]; a != nil {
		return a
	}
	return s.byAddr[netip.AddrPortFrom(netip.IPv4Unspecified(), addr.Port())]
}

// Dial connects to an internal listener; it is the upstream.InternalDialer.
func (s *Set) Dial(name, endpointID string, metadata map[string]*structpb.Struct) (netio.Conn, error) {
	s.mu.RLock()
	a := s.byName[name]
	s.mu.RUnlock()
	if a == nil || a.socket != nil {
		return nil, fmt.Errorf("internal listener %q does not exist", name)
	}
	client, server := netio.Pair()
	c := a.connection(server)
	c.localName, c.remoteName = "envoy://"+name+"/"+endpointID, "envoy://internal_client_address/"
	c.metadata = metadata
	a.set.running.Go(func() { a.serve(c) })
	return client, nil
}

// Close stops every listener and lets connections finish for at most drain;
// then it resets them.
func (s *Set) Close(drain time.Duration) {
	s.mu.Lock()
	for _, a := range s.byName {
		s.remove(a)
	}
	s.mu.Unlock()
	s.stop()
	timer := time.AfterFunc(drain, s.conns.resetAll)
	defer timer.Stop()
	s.running.Wait()
}

// tracker knows the open connections.
type tracker struct {
	mu     sync.Mutex
	open   map[netio.Conn]struct{}
	closed bool
}

func (t *tracker) add(c netio.Conn) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.closed {
		c.Reset()
	}
	t.open[c] = struct{}{}
}

func (t *tracker) remove(c netio.Conn) {
	t.mu.Lock()
	defer t.mu.Unlock()
	delete(t.open, c)
}

func (t *tracker) none() bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	return len(t.open) == 0
}

func (t *tracker) resetAll() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.closed = true
	for c := range t.open {
		c.Reset()
	}
}
