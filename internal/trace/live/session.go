// SPDX-License-Identifier: Apache-2.0

package live

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"sync"
	"time"

	"github.com/ambient22/ambient22/internal/dump"
	"github.com/ambient22/ambient22/internal/trace/story"
)

// Node is a node to trace on: its dump, and where its own namespace is.
type Node struct {
	Dump *dump.Node
	Host Space
}

// Options say what is traced and how long.
type Options struct {
	Query story.Query
	// TunnelPort is the tunnels' UDP port; 0 is Geneve's, 6081.
	TunnelPort uint16
	// Timeout is how long the call is waited for.
	Timeout time.Duration
	// Quiet is how long nothing must happen for the call to count as told.
	Quiet time.Duration
	// Call makes the call, once everything listens; nil waits for one that others
	// make. Its error does not end the trace: the call may be refused.
	Call func(context.Context) error
	// Logs are the files of the ztunnels' logs, by the nodes' names: what they say of
	// the call's connections comes into the timeline.
	Logs map[string]string
	// Ready is told when everything listens; nil for nobody.
	Ready func()
}

// The defaults.
const (
	DefaultTimeout = 30 * time.Second
	DefaultQuiet   = 300 * time.Millisecond
	tunnelPort     = 6081
	// mostQuiet times Quiet is the longest that a call is listened to where others go
	// on.
	mostQuiet = 10
	// maxEvents bounds what a trace keeps.
	maxEvents = 200_000
)

// ErrNoCall says that no packet of such a call was seen.
var ErrNoCall = errors.New("no packet of such a call was seen")

// Ports of the ztunnels: capture, plaintext, HBONE, and HBONE on the same node.
var meshPorts = []uint16{15001, 15006, 15008, 15088}

// session is a trace that runs.
type session struct {
	o        Options
	spaces   []*traced
	mu       sync.Mutex
	events   int
	began    time.Time // when the call's first packet was seen
	reach    *story.Reach
	changed  chan struct{}
	callErr  error
	doubts   []string
	logs     []logTail
	finished bool
	lost     bool // events
}

// traced is one namespace of a session.
type traced struct {
	node    string
	ns      *dump.Netns
	space   Space
	watcher *Watcher
	early   []Event // until the watcher's words are known
	joiner  *joiner
	handles handles
}

// Record traces one call through the nodes.
func Record(ctx context.Context, nodes []Node, o Options) (*Recording, error) {
	m, err := story.New(dumps(nodes))
	if err != nil {
		return nil, err
	}
	reach, err := m.Reach(o.Query)
	if err != nil {
		return nil, err
	}
	if o.Timeout <= 0 {
		o.Timeout = DefaultTimeout
	}
	if o.Quiet <= 0 {
		o.Quiet = DefaultQuiet
	}
	if o.TunnelPort == 0 {
		o.TunnelPort = tunnelPort
	}
	s := &session{o: o, reach: reach, changed: make(chan struct{}, 1)}
	if s.logs, err = openLogs(o.Logs); err != nil {
		return nil, err
	}
	if err = s.watch(nodes, reach); err == nil {
		err = s.wait(ctx)
	}
	if closeErr := s.close(); err == nil {
		err = closeErr
	}
	if err != nil {
		return nil, err
	}
	return s.recording(m), nil
}

func dumps(nodes []Node) []*dump.Node {
	var all []*dump.Node
	for _, n := range nodes {
		all = append(all, n.Dump)
	}
	return all
}

// watch starts to trace in every namespace that the call may pass.
func (s *session) watch(nodes []Node, r *story.Reach) error {
	f := Filter{
		Protocol: r.Protocol, Near: r.Near, Far: append(slices.Clone(r.Far), netip.AddrFrom4([4]byte{127, 0, 0, 1})),
		Ports: append(slices.Clone(r.Ports), meshPorts...), TunnelPort: s.o.TunnelPort,
	}
	for _, n := range nodes {
		if err := s.watchNode(n, f, r); err != nil {
			return err
		}
	}
	return nil
}

func (s *session) watchNode(n Node, f Filter, r *story.Reach) error {
	if n.Dump.Host != nil {
		if err := s.watchSpace(n.Dump.Name, n.Dump.Host, n.Host, f); err != nil {
			return err
		}
	}
	wanted := map[netip.Addr]string{}
	byName := map[string]*dump.Netns{}
	for _, ns := range podsOf(n.Dump) {
		a := ownAddress(ns)
		if a.IsValid() && (ns == n.Dump.Ztunnel || slices.Contains(r.Near, a) || slices.Contains(r.Far, a)) {
			wanted[a], byName[ns.Name] = ns.Name, ns
		}
	}
	found, err := FindPods(n.Host, wanted)
	if err != nil {
		return err
	}
	for name, ns := range byName {
		space, ok := found[name]
		if !ok {
			s.doubts = append(s.doubts, fmt.Sprintf("The network namespace of %s on %s is not to be seen from here; what happens in it is what the dump says.", name, n.Dump.Name))
			continue
		}
		own := f
		own.Untracked = ns != n.Dump.Ztunnel
		if err := s.watchSpace(n.Dump.Name, ns, space, own); err != nil {
			return err
		}
	}
	return nil
}

// podsOf are the namespaces of a node beside its own.
func podsOf(n *dump.Node) []*dump.Netns {
	var all []*dump.Netns
	if n.Ztunnel != nil {
		all = append(all, n.Ztunnel)
	}
	return append(all, n.Pods...)
}

// ownAddress is a pod's address.
func ownAddress(ns *dump.Netns) netip.Addr {
	for _, l := range ns.Links {
		if l.Name == "lo" || l.Tunnel != nil {
			continue
		}
		for _, a := range l.Addrs {
			if a.Prefix.Addr().Is4() {
				return a.Prefix.Addr()
			}
		}
	}
	return netip.Addr{}
}

func (s *session) watchSpace(node string, ns *dump.Netns, space Space, f Filter) error {
	space.Name = node + ": " + ns.Name
	t := &traced{node: node, ns: ns, space: space}
	err := space.Do(func() (err error) {
		t.handles, err = readHandles()
		return err
	})
	if err != nil {
		return fmt.Errorf("tracing in %s: %w", space.Name, err)
	}
	w, err := Watch(space, &f, func(e Event) { s.hear(t, e) })
	if err != nil {
		return err
	}
	t.watcher = w
	s.doubts = append(s.doubts, w.Doubts...)
	s.mu.Lock()
	defer s.mu.Unlock()
	t.joiner = newJoiner(space.Name, w.vocabulary())
	t.joiner.caller, t.joiner.target = s.reach.From, s.reach.To
	for _, e := range t.early {
		t.joiner.add(e)
	}
	t.early = nil
	s.spaces = append(s.spaces, t)
	return nil
}

// hear takes an event of a namespace.
func (s *session) hear(t *traced, e Event) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.began.IsZero() {
		s.events++
	}
	if s.finished || s.events > maxEvents {
		return
	}
	if t.joiner == nil {
		t.early = append(t.early, e)
		return
	}
	t.joiner.add(e)
	if e.Rule == nil || !t.joiner.began {
		return
	}
	if s.began.IsZero() {
		s.began = e.At
		for _, other := range s.spaces {
			other.joiner.began = true // the call may pass there next
		}
	}
	select {
	case s.changed <- struct{}{}:
	default:
	}
}

// since is how long ago the call's first packet was seen; 0 where it was not.
func (s *session) since() time.Duration {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.began.IsZero() {
		return 0
	}
	return time.Since(s.began)
}

// wait makes the call, or waits for one, and goes on until nothing happens any more.
func (s *session) wait(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, s.o.Timeout)
	defer cancel()
	if s.o.Ready != nil {
		s.o.Ready()
	}
	called := make(chan struct{})
	go func() {
		defer close(called)
		if s.o.Call != nil {
			s.callErr = s.o.Call(ctx)
		}
	}()
	err := s.await(ctx, called)
	cancel()
	<-called
	return err
}

func (s *session) await(ctx context.Context, called chan struct{}) error {
	quiet := time.NewTimer(s.o.Quiet)
	defer quiet.Stop()
	ended := called
	for {
		select {
		case <-ended:
			ended = nil // the last packets may still be on their way
			quiet.Reset(s.o.Quiet)
		case <-ctx.Done():
			switch {
			case s.since() > 0:
				return nil // it still goes on: what there is, is told
			case errors.Is(ctx.Err(), context.Canceled):
				return ctx.Err()
			}
			return fmt.Errorf("%w within %s", ErrNoCall, s.o.Timeout)
		case <-s.changed:
			// Other calls on the same connections must not keep this one open.
			if s.since() < mostQuiet*s.o.Quiet {
				quiet.Reset(s.o.Quiet)
			}
		case <-quiet.C:
			switch {
			case s.since() > 0 && over(called):
				return nil
			case s.o.Call != nil && over(called):
				return errors.Join(ErrNoCall, s.callErr)
			}
			quiet.Reset(s.o.Quiet)
		}
	}
}

func over(called chan struct{}) bool {
	select {
	case <-called:
		return true
	default:
		return false
	}
}

// close takes everything away again.
func (s *session) close() error {
	var errs []error
	for _, t := range s.spaces {
		err := t.watcher.Close()
		if errors.Is(err, errLost) {
			s.doubts = append(s.doubts, fmt.Sprintf("%v: some steps may be missing.", err))
			s.lost, err = true, nil
		}
		errs = append(errs, err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.finished = true
	return errors.Join(errs...)
}
