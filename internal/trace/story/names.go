// SPDX-License-Identifier: Apache-2.0

package story

import (
	"net/netip"
	"slices"
	"strings"

	"github.com/ambient22/ambient22/internal/dump"
	"github.com/ambient22/ambient22/internal/dump/iproute"
)

// entityKind says what a name stands for.
type entityKind int

const (
	podEntity entityKind = iota
	serviceEntity
	nodeEntity
)

// entity is something with a name and an address.
type entity struct {
	kind            entityKind
	namespace, name string
	workload        string // of a pod: its deployment's name, where that is known
	ip              netip.Addr
	node            string
	ports           []uint16  // of a service
	services        []service // of a service
	captured        bool      // of a pod: the node controller said so
	reason          string    // why not
	known           bool      // captured and reason are known
	account         string    // of a pod: its service account
}

// service is one port of a service with its endpoints.
type service struct {
	port      uint16
	endpoints []netip.AddrPort
}

// full is the name for people.
func (e *entity) full() string {
	switch {
	case e.name == "":
		return e.ip.String()
	case e.namespace == "":
		return e.name
	}
	return e.namespace + "/" + e.name
}

// short is the name without its namespace.
func (e *entity) short() string {
	if e.name == "" {
		return e.ip.String()
	}
	return e.name
}

// collectNames finds the names in all dumps: from the node controller's list, else
// from what the ztunnels were served, and from the namespaces that are there. Each
// thing counts once, however many dumps know it.
func (m *Mesh) collectNames() []entity {
	c := &collector{at: map[string]int{}}
	for _, n := range m.nodes {
		if w := n.dump.Workloads; w != nil {
			c.workloads(w)
		}
	}
	for _, n := range m.nodes {
		c.proxy(n)
		for _, s := range n.pods {
			c.namespace(n, s)
		}
		if n.ztunnel != nil {
			c.ztunnel(n)
		}
		if n.host != nil {
			c.add(entity{kind: nodeEntity, name: n.name(), ip: hostAddress(n), node: n.name()})
		}
	}
	return c.list
}

type collector struct {
	list []entity
	at   map[string]int // by kind and address or name
}

// add adds e, or what it knows more than its earlier mention.
func (c *collector) add(e entity) {
	key := e.full()
	switch {
	case e.ip.IsValid():
		key = e.ip.String()
	}
	if e.kind == serviceEntity && e.name != "" {
		// Where dumps differ about a service's address, the first one counts.
		key = e.full()
	}
	key = string(rune('0'+e.kind)) + key
	i, known := c.at[key]
	if !known {
		c.at[key] = len(c.list)
		c.list = append(c.list, e)
		return
	}
	old := &c.list[i]
	if old.kind == podEntity && e.name != "" && old.name != e.name && old.name != "" {
		// Pods on their node's network share its address.
		c.at[key+e.full()] = len(c.list)
		c.list = append(c.list, e)
		return
	}
	if old.name == "" {
		old.name, old.namespace = e.name, e.namespace
	}
	if old.workload == "" {
		old.workload = e.workload
	}
	if old.node == "" {
		old.node = e.node
	}
	if old.account == "" {
		old.account = e.account
	}
	if len(old.ports) == 0 && e.kind == serviceEntity {
		old.ports = e.ports
	}
}

func (c *collector) workloads(w *dump.Workloads) {
	for _, p := range w.Pods {
		c.add(entity{
			kind: podEntity, namespace: p.Namespace, name: p.Name, ip: p.IP, node: p.Node,
			captured: p.Captured, reason: p.Reason, known: true, account: p.ServiceAccount,
		})
	}
	for _, s := range w.Services {
		e := entity{kind: serviceEntity, namespace: s.Namespace, name: s.Name, ip: s.IP}
		for _, p := range s.Ports {
			e.ports = append(e.ports, p.Port)
			e.services = append(e.services, service{p.Port, p.Endpoints})
		}
		c.add(e)
	}
}

// proxy takes names out of a ztunnel's configuration.
func (c *collector) proxy(n *node) {
	if n.proxy == nil {
		return
	}
	names := n.proxy.Names()
	for _, p := range names.Pods {
		e := entity{kind: podEntity, namespace: p.Namespace, name: p.Name, workload: p.Workload, ip: p.IP, account: p.Account}
		if p.Local {
			e.node = n.name()
		}
		c.add(e)
	}
	for _, s := range names.Services {
		c.add(entity{kind: serviceEntity, namespace: s.Namespace, name: s.Name, ip: s.IP, ports: s.Ports})
	}
}

// namespace takes a pod from its namespace's own dump.
func (c *collector) namespace(n *node, s *space) {
	ns, name, ok := strings.Cut(s.pod, "/")
	if !ok {
		// Of a pod that nobody could name a dump has the address alone.
		ns, name = "", ""
	}
	for _, l := range s.ns.Links {
		for _, a := range l.Addrs {
			if a.Prefix.Addr().Is4() && !a.Prefix.Addr().IsLoopback() && l.Tunnel == nil {
				c.add(entity{kind: podEntity, namespace: ns, name: name, ip: a.Prefix.Addr(), node: n.name()})
			}
		}
	}
}

func (c *collector) ztunnel(n *node) {
	e := entity{kind: podEntity, namespace: "istio-system", name: "ztunnel", ip: n.ztunnelIP(), node: n.name()}
	if n.proxy != nil && n.proxy.Node.Pod != "" {
		e.name, e.namespace = n.proxy.Node.Pod, n.proxy.Node.Namespace
	}
	if e.ip.IsValid() {
		c.add(e)
	}
}

// ztunnelIP is the ztunnel pod's own address: the one on a device that is no tunnel.
func (n *node) ztunnelIP() netip.Addr {
	if n.ztunnel != nil {
		for _, l := range n.ztunnel.ns.Links {
			for _, a := range l.Addrs {
				if a.Prefix.Addr().Is4() && !a.Prefix.Addr().IsLoopback() && l.Tunnel == nil {
					return a.Prefix.Addr()
				}
			}
		}
	}
	if r := n.remotes(); len(r) > 0 {
		return r[0]
	}
	return netip.Addr{}
}

// remotes are where the node's tunnel devices lead: to its ztunnel.
func (n *node) remotes() []netip.Addr {
	if n.host == nil {
		return nil
	}
	var list []netip.Addr
	for _, l := range n.host.ns.Links {
		if l.Tunnel != nil && (l.Name == inDevice || l.Name == outDevice) && l.Tunnel.Remote.IsValid() {
			list = append(list, l.Tunnel.Remote)
		}
	}
	return list
}

// hostAddress is the node's own address: the one of the device that its default
// route uses, else the first that is not shared with every node.
func hostAddress(n *node) netip.Addr {
	if r := n.host.mainRoute(netip.IPv4Unspecified()); r != nil {
		if l := n.host.link(r.Dev); l != nil {
			if a := firstV4(l.Addrs); a.IsValid() {
				return a
			}
		}
	}
	for _, l := range n.host.ns.Links {
		if a := firstV4(l.Addrs); a.IsValid() && !a.IsLoopback() && l.Tunnel == nil {
			return a
		}
	}
	return netip.Addr{}
}

// named are the entities that a name can stand for, best first class only: the
// full name, the name alone, the deployment's name, the beginning of a pod's name.
func (m *Mesh) named(name string, kinds ...entityKind) []entity {
	ns, bare, qualified := strings.Cut(name, "/")
	if !qualified {
		ns, bare = "", name
	}
	bare, ns = hostname(bare, ns)
	classes := make([][]entity, 3)
	for _, e := range m.names {
		if !slices.Contains(kinds, e.kind) || ns != "" && e.namespace != ns || e.name == "" {
			continue
		}
		switch {
		case e.name == bare:
			classes[0] = append(classes[0], e)
		case e.kind == podEntity && e.workload != "" && e.workload == bare:
			classes[1] = append(classes[1], e)
		case e.kind == podEntity && strings.HasPrefix(e.name, bare+"-"):
			classes[2] = append(classes[2], e)
		}
	}
	classes[1] = append(classes[1], classes[2]...)
	for _, c := range classes {
		if len(c) > 0 {
			return c
		}
	}
	return nil
}

// hostname takes a service's DNS name apart: "reviews.default.svc.cluster.local".
func hostname(name, ns string) (string, string) {
	head, rest, ok := strings.Cut(name, ".")
	if !ok || ns != "" {
		return name, ns
	}
	zone, after, _ := strings.Cut(rest, ".")
	if after == "" || after == "svc" || strings.HasPrefix(after, "svc.") {
		return head, zone
	}
	return name, ns
}

// firstV4 is a device's first IPv4 address; zero without one.
func firstV4(addrs []iproute.Addr) netip.Addr {
	for _, a := range addrs {
		if a.Prefix.Addr().Is4() {
			return a.Prefix.Addr()
		}
	}
	return netip.Addr{}
}
