// SPDX-License-Identifier: Apache-2.0

package noderoute

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"path/filepath"
	"sync"

	"golang.org/x/sys/unix"
)

// Options are what a Node is made of.
type Options struct {
	// IPTables is the variant to write rules with; Auto, the zero value, takes
	// the one that the node already uses.
	IPTables Variant
	// StateDir holds the state file (host.json, pod.json). Empty: nothing is
	// remembered, and cleaning up leaves sysctls as they are.
	StateDir string
	// ProcSys is the folder below which sysctls are written; empty is /proc/sys.
	// It must show the kernel's own files (proc(5)), as a bind mount does.
	ProcSys string
	// NetNS is a file descriptor of the network namespace to work in; 0 takes
	// the one of the calling thread. It is duplicated.
	NetNS int
}

// Node works on one network namespace: a node's or a ztunnel pod's. Its
// methods are safe for concurrent use and run one at a time.
type Node struct {
	options Options
	netns   int

	mu    sync.Mutex
	tools tools // of the variant, once it is decided

	// What Watch needs to tell events that matter from others.
	interest interest
	own      ownWork
}

// New opens the network namespace. It changes nothing.
func New(o Options) (*Node, error) {
	if o.ProcSys == "" {
		o.ProcSys = procSys
	}
	n := &Node{options: o}
	var err error
	if o.NetNS != 0 {
		n.netns, err = unix.FcntlInt(uintptr(o.NetNS), unix.F_DUPFD_CLOEXEC, 0)
	} else {
		n.netns, err = unix.Open("/proc/thread-self/ns/net", unix.O_RDONLY|unix.O_CLOEXEC, 0)
	}
	if err != nil {
		return nil, fmt.Errorf("opening the network namespace: %w", err)
	}
	return n, nil
}

// Close lets go of the network namespace. It changes nothing in it.
func (n *Node) Close() error { return unix.Close(n.netns) }

// Result is what a call did.
type Result struct {
	// Changes are the changes made, in order, one line each.
	Changes []string
	// Kinds counts the changes by kind.
	Kinds map[Kinds]int
	// Refused are pods that were left out.
	Refused []*PodError
	// Warnings are things a person should look at.
	Warnings []string
	// Replaced is the ztunnel that another one took over from just now, if it
	// still lives, and Drained how many open connections stay with it.
	Replaced netip.Addr
	Drained  int
	// Ended tells that a ztunnel does not drain any more, and what it needed was
	// taken away.
	Ended bool
	// Undrained are ztunnels that live and whose connections are given up, because
	// more drain than the node can tell apart.
	Undrained []netip.Addr

	// Listings counts the processes that only listed rules, Execs those that
	// wrote them, NetlinkWrites the netlink messages that changed something,
	// SysctlWrites the settings written. Where nothing had to change, the last
	// three are 0.
	Listings, Execs, NetlinkWrites, SysctlWrites int
}

// Writes is the number of writes of all kinds.
func (r Result) Writes() int { return r.Execs + r.NetlinkWrites + r.SysctlWrites }

func (n *Node) statePath(side Side) string {
	if n.options.StateDir == "" {
		return ""
	}
	return filepath.Join(n.options.StateDir, map[Side]string{Host: "host.json", InPod: "pod.json"}[side])
}

// Apply makes the node what the configuration says: it plans, lists what is
// there, and changes what differs. Foreign rules, routes or devices in the way
// are an *ObstacleError, before anything is written. If a first install fails
// on the way, what it had added is taken away again.
func (n *Node) Apply(ctx context.Context, c HostConfig) (Result, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.in(ctx, Host, func(s *session) error {
		p, l, err := s.hostPlan(c)
		if err != nil {
			return err
		}
		return s.settle(p, l)
	})
}

// Diff says what Apply would do, and does nothing. It refuses what Apply refuses.
func (n *Node) Diff(ctx context.Context, c HostConfig) (Changes, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	var changes Changes
	_, err := n.in(ctx, Host, func(s *session) error {
		p, l, err := s.hostPlan(c)
		if err == nil {
			changes, err = possible(p, l)
		}
		return err
	})
	return changes, err
}

// Plan says what should be on the node, and does nothing.
func (n *Node) Plan(ctx context.Context, c HostConfig) (Plan, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	var p Plan
	_, err := n.in(ctx, Host, func(s *session) error {
		f, err := s.hostFacts(c)
		if err == nil {
			p, err = PlanHost(c, f)
		}
		return err
	})
	return p, err
}

// Cleanup takes everything of ours off the node, whatever part of it is there
// and whichever run put it there, and puts back what was before. It may be
// called again. Tables that the nft variant made for our rules go too; a table
// of the legacy variant, once it was used in a network namespace, stays there
// empty until the namespace ends, the kernel has no way to take it away (a node
// with kube-proxy has mangle and nat in use anyway).
func (n *Node) Cleanup(ctx context.Context) (Result, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.interest.forget()
	return n.in(ctx, Host, (*session).cleanup)
}

// InitPod is Apply for the inside of a ztunnel pod.
func (n *Node) InitPod(ctx context.Context, c PodConfig) (Result, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.in(ctx, InPod, func(s *session) error {
		p, l, err := s.podPlan(c)
		if err != nil {
			return err
		}
		return s.settle(p, l)
	})
}

// DiffPod says what InitPod would do, and does nothing.
func (n *Node) DiffPod(ctx context.Context, c PodConfig) (Changes, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	var changes Changes
	_, err := n.in(ctx, InPod, func(s *session) error {
		p, l, err := s.podPlan(c)
		if err == nil {
			changes, err = possible(p, l)
		}
		return err
	})
	return changes, err
}

// CleanupPod is Cleanup for the inside of a ztunnel pod.
func (n *Node) CleanupPod(ctx context.Context) (Result, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.in(ctx, InPod, (*session).cleanup)
}

func (s *session) hostPlan(c HostConfig) (Plan, *listing, error) {
	f, err := s.hostFacts(c)
	if err != nil {
		return Plan{}, nil, err
	}
	p, err := PlanHost(c, f)
	if err != nil {
		return Plan{}, nil, err
	}
	l, err := s.list(p, append([]netip.Addr{c.ZtunnelIP}, c.Draining...)...)
	return p, l, err
}

func (s *session) podPlan(c PodConfig) (Plan, *listing, error) {
	f, err := s.podFacts()
	if err != nil {
		return Plan{}, nil, err
	}
	p, err := PlanPod(c, f)
	if err != nil {
		return Plan{}, nil, err
	}
	l, err := s.list(p, f.Gateway)
	return p, l, err
}

// list reads everything that a plan of this side speaks of.
func (s *session) list(p Plan, known ...netip.Addr) (*listing, error) {
	t, err := s.decide()
	if err != nil {
		return nil, err
	}
	l, err := s.listKernel(p)
	if err != nil {
		return nil, err
	}
	if l.tables, err = s.listTables(t); err != nil {
		return nil, err
	}
	if l.elsewhere, err = s.tablesWithOurs(t.variant.other()); err != nil {
		return nil, err
	}
	l.learn(known...)
	return l, nil
}

// listKernel is list without the iptables rules.
func (s *session) listKernel(p Plan) (*listing, error) {
	l := &listing{side: s.side}
	var err error
	if l.links, err = s.links.List(deviceNames(s.side)...); err != nil {
		return nil, err
	}
	if l.sysctls, err = readSysctls(p.Sysctls); err != nil {
		return nil, err
	}
	for _, name := range setNames(s.side) {
		if l.set, err = s.sets.List(name); err != nil {
			return nil, err
		}
	}
	if l.rules, err = s.listRules(); err != nil {
		return nil, err
	}
	for table := uint32(TableInbound); table <= tableLast; table++ {
		routes, err := s.listRoutes(table)
		if err != nil {
			return nil, err
		}
		l.routes = append(l.routes, routes...)
	}
	return l, nil
}

// possible is the difference, unless others' objects are in the way of it.
func possible(p Plan, l *listing) (Changes, error) {
	if problems := obstacles(p, l); len(problems) > 0 {
		return Changes{}, &ObstacleError{Problems: problems}
	}
	return steps(p, l), nil
}

// settle refuses to work around others, applies the difference, and undoes a
// first install that fails.
func (s *session) settle(p Plan, l *listing) error {
	s.result.Refused, s.result.Undrained = p.Refused, p.over
	changes, err := possible(p, l)
	if err != nil {
		return err
	}
	first := l.empty()
	if err := s.rememberDrains(p.Drains); err != nil {
		return err
	}
	err = s.apply(p.Side, changes, l)
	if err == nil {
		s.result.Ended = len(p.ending) > 0
		return s.releaseSysctls(unwanted(p))
	}
	if !first {
		return err
	}
	return errors.Join(err, s.undo())
}

// unwanted tells of a changed setting whether the plan does without it: it is
// of a pod that left, or of the veth of a ztunnel that was replaced.
func unwanted(p Plan) func(sysctlOrigin) bool {
	wanted := make(map[[2]string]bool, len(p.Sysctls))
	for _, y := range p.Sysctls {
		wanted[[2]string{y.Device, y.Key}] = true
	}
	return func(o sysctlOrigin) bool { return !wanted[[2]string{o.Device, o.Key}] }
}

// undo takes away what a failed first install had added. It has to work even
// if the reason of the failure was the context.
func (s *session) undo() error {
	s.ctx = context.WithoutCancel(s.ctx)
	if err := s.cleanup(); err != nil {
		return fmt.Errorf("undoing what was added: %w", err)
	}
	return nil
}

// apply makes the steps in order and stops at the first that fails.
func (s *session) apply(side Side, c Changes, l *listing) error {
	for _, st := range c.steps {
		if err := context.Cause(s.ctx); err != nil {
			return err
		}
		if err := s.applyStep(side, st, l); err != nil {
			return err
		}
		s.changed(st)
	}
	return nil
}

// changed notes a step that was made.
func (s *session) changed(st step) {
	lines := st.lines()
	s.result.Changes = append(s.result.Changes, lines...)
	if s.result.Kinds == nil {
		s.result.Kinds = map[Kinds]int{}
	}
	s.result.Kinds[st.kind()] += len(lines)
}

func (s *session) applyStep(side Side, st step, l *listing) error {
	if len(st.devices) > 0 {
		return s.links.Apply(st.devices)
	}
	if len(st.sysctls) > 0 {
		return s.setSysctls(st.sysctls, deviceNames(side))
	}
	if !st.set.Empty() {
		return s.sets.Apply(st.set)
	}
	if st.variant != Auto {
		t, err := findTools(st.variant)
		if err != nil {
			return err
		}
		return s.restoreTables(t, st.tables)
	}
	if len(st.tables) > 0 {
		t, err := s.decide()
		if err != nil {
			return err
		}
		if err := s.rememberTables(t, st.tables, l.tables, side); err != nil {
			return err
		}
		return s.restoreTables(t, st.tables)
	}
	if st.sweep != nil {
		return s.sweep(st.sweep)
	}
	if err := s.writeRules(st.rules); err != nil {
		return err
	}
	return s.writeRoutes(st.routes)
}
