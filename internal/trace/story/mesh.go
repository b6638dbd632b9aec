// SPDX-License-Identifier: Apache-2.0

package story

import (
	"errors"
	"fmt"
	"iter"
	"net/netip"
	"slices"
	"strings"

	"github.com/ambient22/ambient22/internal/dump"
	"github.com/ambient22/ambient22/internal/dump/iproute"
	"github.com/ambient22/ambient22/internal/dump/iptsave"
	"github.com/ambient22/ambient22/internal/trace"
	"github.com/ambient22/ambient22/internal/trace/story/proxyview"
)

// Mesh is the nodes whose dumps are there, compiled. It can tell many stories, but it
// is not for several goroutines at once.
type Mesh struct {
	nodes []*node
	names []entity
}

// node is one node.
type node struct {
	dump          *dump.Node
	host, ztunnel *space
	pods          []*space
	proxy         *proxyview.Proxy // nil where the dump has no usable config_dump
	proxyErr      error
}

// name is the node's name for people.
func (n *node) name() string { return n.dump.Name }

// label is the node in a sentence.
func (n *node) label() string { return NodeLabel(n.name()) }

// NodeLabel is a node's name in a sentence: "node gke-1"; one that says itself that it
// is a node stands alone.
func NodeLabel(name string) string {
	if strings.HasPrefix(name, "node") {
		return name
	}
	return "node " + name
}

// spaces are all namespaces of the node that are there.
func (n *node) spaces() []*space {
	var all []*space
	for _, s := range append([]*space{n.host, n.ztunnel}, n.pods...) {
		if s != nil {
			all = append(all, s)
		}
	}
	return all
}

// The kinds of namespaces, as in Place.Space.
const (
	hostSpace    = "host"
	ztunnelSpace = "ztunnel"
	podSpace     = "pod"
	linkSpace    = "link"
)

// space is one network namespace.
type space struct {
	*trace.Space
	node *node
	kind string
	pod  string // "NAMESPACE/NAME" where kind is pod
	ns   *dump.Netns
	// files tells of each rule which of the two saves it is in; nil where there is
	// only one.
	files map[*iptsave.Rule]string
	file  map[dump.Kind]string
}

// New compiles dumps of one or several nodes.
func New(nodes []*dump.Node) (*Mesh, error) {
	if len(nodes) == 0 {
		return nil, errors.New("telling a story: there is no dump")
	}
	m := &Mesh{}
	for _, d := range nodes {
		n, err := compile(d)
		if err != nil {
			return nil, err
		}
		m.nodes = append(m.nodes, n)
	}
	m.names = m.collectNames()
	return m, nil
}

func compile(d *dump.Node) (*node, error) {
	n := &node{dump: d}
	if d.Ztunnel != nil && len(d.Ztunnel.ConfigDump) > 0 {
		n.proxy, n.proxyErr = proxyview.Read(d.Ztunnel.ConfigDump)
	}
	var err error
	if d.Host != nil {
		if n.host, err = n.compile(d.Host, hostSpace); err != nil {
			return nil, err
		}
	}
	if d.Ztunnel != nil {
		var o []trace.Option
		if n.proxy != nil {
			o = append(o, trace.Sockets(n.proxySockets()...))
		}
		if n.ztunnel, err = n.compile(d.Ztunnel, ztunnelSpace, o...); err != nil {
			return nil, err
		}
	}
	for _, p := range d.Pods {
		s, err := n.compile(p, podSpace)
		if err != nil {
			return nil, err
		}
		s.pod = p.Name
		n.pods = append(n.pods, s)
	}
	return n, nil
}

// proxySockets are the listening sockets that the ztunnel's configuration asks for.
func (n *node) proxySockets() []trace.Socket {
	var list []trace.Socket
	for _, l := range n.proxy.Sockets() {
		list = append(list, trace.Socket{Protocol: protocolTCP, Local: l.Addr, Transparent: l.Transparent, Mark: l.Mark})
	}
	return list
}

func (n *node) compile(ns *dump.Netns, kind string, o ...trace.Option) (*space, error) {
	if kind == hostSpace && unknownSysctls(ns) {
		o = append(o, trace.Assume(map[string]string{"net.ipv4.ip_forward": "1"}))
	}
	eng, err := trace.Compile(ns, append(o, trace.Choosing(trace.FirstWay))...)
	if err != nil {
		return nil, fmt.Errorf("reading the dump of %s, %s: %w", n.name(), ns.Name, err)
	}
	s := &space{Space: eng, node: n, kind: kind, ns: ns, file: map[dump.Kind]string{}}
	for _, k := range dump.Kinds() {
		s.file[k] = dump.FileName(ns.Name, k)
		if f := ns.Files[k]; len(f) > 0 {
			s.file[k] = f[0]
		}
	}
	s.indexFiles()
	return s, nil
}

// unknownSysctls tells that nobody took them. Texts that people collect by hand
// rarely have any.
func unknownSysctls(ns *dump.Netns) bool {
	return len(ns.Sysctls) == 0 && ns.Missing[dump.KindSysctls] != ""
}

// indexFiles notes which save a rule is in, where both variants have some.
func (s *space) indexFiles() {
	if empty(s.ns.NFT) || empty(s.ns.Legacy) {
		return
	}
	s.files = map[*iptsave.Rule]string{}
	for _, save := range []struct {
		kind dump.Kind
		save *iptsave.Save
	}{{dump.KindNFTSave, s.ns.NFT}, {dump.KindLegacySave, s.ns.Legacy}} {
		for r := range save.save.Rules() {
			s.files[r] = s.file[save.kind]
		}
	}
}

func empty(s *iptsave.Save) bool { return s == nil || len(s.Tables) == 0 }

// rules are the rules of both variants.
func (s *space) rules() iter.Seq[*iptsave.Rule] {
	return func(yield func(*iptsave.Rule) bool) {
		for _, save := range []*iptsave.Save{s.ns.Legacy, s.ns.NFT} {
			for r := range save.Rules() {
				if !yield(r) {
					return
				}
			}
		}
	}
}

// rulesOf are the rules of one table, of both variants.
func (s *space) rulesOf(table string) iter.Seq[*iptsave.Rule] {
	return func(yield func(*iptsave.Rule) bool) {
		for _, save := range []*iptsave.Save{s.ns.Legacy, s.ns.NFT} {
			if save == nil {
				continue
			}
			for _, t := range save.Tables {
				if t.Name != table {
					continue
				}
				for _, c := range t.Chains {
					for _, r := range c.Rules {
						if !yield(r) {
							return
						}
					}
				}
			}
		}
	}
}

// ruleFile is the file of the dump that a rule is in.
func (s *space) ruleFile(r *iptsave.Rule) string {
	switch {
	case s.files != nil:
		return s.files[r]
	case empty(s.ns.NFT):
		return s.file[dump.KindLegacySave]
	}
	return s.file[dump.KindNFTSave]
}

// link is a device by its name, or nil.
func (s *space) link(name string) *iproute.Link {
	for _, l := range s.ns.Links {
		if l.Name == name {
			return l
		}
	}
	return nil
}

// holds reports whether the namespace has the address on a device.
func (s *space) holds(a netip.Addr) bool { return s.device(a) != nil }

// device is the device that has the address, or nil.
func (s *space) device(a netip.Addr) *iproute.Link {
	for _, l := range s.ns.Links {
		for _, addr := range l.Addrs {
			if addr.Prefix.Addr() == a {
				return l
			}
		}
	}
	return nil
}

// mainRoute is the main table's route to an address, or nil.
func (s *space) mainRoute(a netip.Addr) *iproute.Route {
	var best *iproute.Route
	for _, r := range s.ns.Routes {
		if r.IPv6 || r.Table != 254 || !r.Dst.Contains(a) {
			continue
		}
		if best == nil || r.Dst.Bits() > best.Dst.Bits() || r.Dst.Bits() == best.Dst.Bits() && r.Metric < best.Metric {
			best = r
		}
	}
	return best
}

// podDevice is the host's device behind which a pod of this node has the address;
// "" where there is none.
func (n *node) podDevice(a netip.Addr) string {
	if n.host == nil {
		return ""
	}
	r := n.host.mainRoute(a)
	if r == nil || r.Dev == "" || r.Via.IsValid() || r.Type != "unicast" && r.Type != "" {
		return ""
	}
	l := n.host.link(r.Dev)
	switch {
	case r.Dst.IsSingleIP():
		return r.Dev
	case l != nil && l.Kind == "bridge":
		return r.Dev
	}
	return ""
}

// owner is the node that has the pod of that address on it, or nil.
func (m *Mesh) owner(a netip.Addr) *node {
	for _, n := range m.nodes {
		if slices.ContainsFunc(n.spaces(), func(s *space) bool { return s.kind != hostSpace && s.holds(a) && !tunnelled(s, a) }) {
			return n
		}
	}
	for _, e := range m.names {
		if e.ip == a && e.node != "" {
			if n := m.nodeCalled(e.node); n != nil {
				return n
			}
		}
	}
	for _, n := range m.nodes {
		if n.podDevice(a) != "" || n.enrols(a) {
			return n
		}
	}
	return nil
}

// enrols tells that the node has the route of a captured pod with that address.
func (n *node) enrols(a netip.Addr) bool {
	return n.host != nil && slices.ContainsFunc(n.host.ns.Routes, func(r *iproute.Route) bool {
		return r.Table == 100 && r.Dev == inDevice && r.Dst.IsSingleIP() && r.Dst.Addr() == a
	})
}

// tunnelled tells an address of a tunnel device, which many nodes share.
func tunnelled(s *space, a netip.Addr) bool {
	l := s.device(a)
	return l != nil && l.Tunnel != nil
}

// holder is the node whose host has the address, or nil.
func (m *Mesh) holder(a netip.Addr) *node {
	for _, n := range m.nodes {
		if n.host != nil && n.host.holds(a) && !tunnelled(n.host, a) {
			return n
		}
	}
	return nil
}

func (m *Mesh) nodeCalled(name string) *node {
	for _, n := range m.nodes {
		if n.name() == name || n.proxy != nil && n.proxy.Node.Node == name || n.dump.Workloads != nil && n.dump.Workloads.Node == name {
			return n
		}
	}
	return nil
}

// inSpace is the pod's namespace that has the address, or nil.
func (n *node) inSpace(a netip.Addr) *space {
	for _, s := range n.spaces() {
		if s.kind != hostSpace && s.holds(a) && !tunnelled(s, a) {
			return s
		}
	}
	return nil
}

// short is a pod's name without its namespace.
func short(name string) string {
	if _, after, ok := strings.Cut(name, "/"); ok {
		return after
	}
	return name
}
