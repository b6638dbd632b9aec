// SPDX-License-Identifier: Apache-2.0

package story

import (
	"cmp"
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"strings"
)

// Query asks for a packet's way.
type Query struct {
	// From is a pod ("sleep", "default/sleep-5644bdc767-2dfg7", a part of its name
	// that ends before a "-"), a node ("host" where there is one, or its name), or an
	// IPv4 address. FromPort is the client's port; 0 chooses one.
	From     string
	FromPort uint16
	// FromIP is the address that From sends with, where it has several, as a node
	// has; the zero Addr takes the one that it is known by.
	FromIP netip.Addr
	// To is a service, a pod or an address, with a port behind a colon.
	To string
	// Protocol is "tcp" (also "") or "udp".
	Protocol string
	// Answer tells the ways of the answers as well. They are followed in any case.
	Answer bool
	// ExplainMiss says why the packet was not captured.
	ExplainMiss bool
	// Kernel is what a running kernel did; nil tells the story from the dumps alone.
	Kernel Kernel
}

// The protocols' numbers.
const (
	protocolTCP = 6
	protocolUDP = 17
)

// defaultPort is the client's port where nobody asked for one.
const defaultPort = 40000

// NameError says that a name can't be resolved: to nothing, or to several.
type NameError struct {
	Flag       string // "--from", "--to"
	Name       string
	Reason     string
	Candidates []string
}

// Error names the thing and the way out.
func (e *NameError) Error() string {
	text := fmt.Sprintf("%s %s: %s", e.Flag, e.Name, e.Reason)
	if len(e.Candidates) > 0 {
		text += ": " + strings.Join(e.Candidates, ", ")
	}
	return text
}

// maxCandidates is how many names an error lists.
const maxCandidates = 12

func candidates(list []entity) []string {
	var out []string
	for _, e := range list {
		text := e.full()
		if e.ip.IsValid() && e.name != "" {
			text += " (" + e.ip.String() + ")"
		}
		out = append(out, text)
	}
	slices.Sort(out)
	if len(out) > maxCandidates {
		out = append(out[:maxCandidates], fmt.Sprintf("and %d more", len(out)-maxCandidates))
	}
	return out
}

// ends are a query's two ends, resolved.
type ends struct {
	protocol uint8
	from, to entity
	src, dst netip.AddrPort
}

func (m *Mesh) resolve(q Query) (*ends, error) {
	e := &ends{}
	switch strings.ToLower(q.Protocol) {
	case "", "tcp":
		e.protocol = protocolTCP
	case "udp":
		e.protocol = protocolUDP
	default:
		return nil, fmt.Errorf("--protocol %s: it is tcp or udp", q.Protocol)
	}
	var err error
	if e.from, err = m.resolveFrom(q.From); err != nil {
		return nil, err
	}
	if q.FromIP.IsValid() {
		e.from.ip = q.FromIP
	}
	port := q.FromPort
	if port == 0 {
		port = defaultPort
	}
	e.src = netip.AddrPortFrom(e.from.ip, port)
	if e.to, e.dst, err = m.resolveTo(q.To); err != nil {
		return nil, err
	}
	if e.src.Addr() == e.dst.Addr() && e.from.kind != nodeEntity {
		return nil, &NameError{Flag: "--to", Name: q.To, Reason: fmt.Sprintf("it is the caller's own address (%s): such a packet never leaves the pod", e.dst.Addr())}
	}
	return e, nil
}

func (m *Mesh) resolveFrom(name string) (entity, error) {
	if name == "" {
		return entity{}, &NameError{Flag: "--from", Name: `""`, Reason: "it takes a pod, a node or an address"}
	}
	if ip, err := netip.ParseAddr(name); err == nil {
		for _, e := range m.names {
			if e.kind == serviceEntity && e.ip == ip {
				return entity{}, &NameError{Flag: "--from", Name: name, Reason: fmt.Sprintf("it is the address of the service %s, and no packet is sent by a service; give the pod that calls", e.full())}
			}
		}
		if m.tunnelAddress(ip) {
			return entity{}, &NameError{Flag: "--from", Name: name, Reason: "it is the address of a tunnel device, which every node has; give the node or the ztunnel by its name"}
		}
		return m.address("--from", name, ip, podEntity, nodeEntity)
	}
	if name == "host" || name == "node" || name == "kubelet" {
		return m.onlyNode(name)
	}
	list := m.named(name, podEntity)
	if len(list) == 0 {
		list = m.named(name, nodeEntity)
	}
	return m.one("--from", name, list, podEntity, nodeEntity)
}

// onlyNode is the node itself, where one dump alone is there.
func (m *Mesh) onlyNode(name string) (entity, error) {
	var list []entity
	for _, e := range m.names {
		if e.kind == nodeEntity {
			list = append(list, e)
		}
	}
	if len(list) > 1 {
		return entity{}, &NameError{Flag: "--from", Name: name, Reason: "there are several nodes; give one by its name", Candidates: candidates(list)}
	}
	return m.one("--from", name, list)
}

// one is the single entity of a list. kinds are what a list of what there is would
// show.
func (m *Mesh) one(flag, name string, list []entity, kinds ...entityKind) (entity, error) {
	switch len(list) {
	case 1:
		if !list[0].ip.IsValid() {
			return list[0], &NameError{Flag: flag, Name: name, Reason: "no address is known of " + list[0].full()}
		}
		if !list[0].ip.Is4() {
			return list[0], &NameError{Flag: flag, Name: name, Reason: list[0].ip.String() + " is not IPv4; this data path knows no other"}
		}
		return list[0], nil
	case 0:
		var known []entity
		for _, e := range m.names {
			if slices.Contains(kinds, e.kind) && e.name != "" {
				known = append(known, e)
			}
		}
		if !slices.ContainsFunc(known, func(e entity) bool { return e.kind != nodeEntity }) {
			return entity{}, &NameError{Flag: flag, Name: name, Reason: "the dumps have no names of pods or services (no workloads.json, no config_dump); give an IP address"}
		}
		return entity{}, &NameError{Flag: flag, Name: name, Reason: "nothing in the dumps is called so. There are", Candidates: candidates(known)}
	}
	return entity{}, &NameError{Flag: flag, Name: name, Reason: fmt.Sprintf("it could be any of %d. Give one by its full name or its address", len(list)), Candidates: candidates(list)}
}

// address is what has the address; an entity without a name where nothing has.
func (m *Mesh) address(flag, text string, ip netip.Addr, kinds ...entityKind) (entity, error) {
	if why := noHost(ip); why != "" {
		return entity{}, &NameError{Flag: flag, Name: text, Reason: why}
	}
	// Pods on their node's network have its address; the address alone is the node.
	if n := m.holder(ip); n != nil {
		return entity{kind: nodeEntity, name: n.name(), ip: ip, node: n.name()}, nil
	}
	for _, kind := range kinds {
		for _, e := range m.names {
			if e.kind == kind && e.ip == ip {
				return e, nil
			}
		}
	}
	return entity{kind: podEntity, ip: ip}, nil
}

// tunnelAddress tells an address that only tunnel devices have.
func (m *Mesh) tunnelAddress(ip netip.Addr) bool {
	for _, n := range m.nodes {
		if slices.ContainsFunc(n.spaces(), func(s *space) bool { return tunnelled(s, ip) }) {
			return true
		}
	}
	return false
}

// noHost says why no host between which a call could be followed has the address;
// "" where one may have it.
func noHost(ip netip.Addr) string {
	switch {
	case !ip.Is4():
		return "it is not IPv4; this data path knows no other"
	case ip.IsLoopback():
		return "it is a loopback address: such a packet never leaves the namespace that it is sent in"
	case ip.IsUnspecified():
		return "it is no host's address"
	case ip.IsMulticast(), ip == netip.AddrFrom4([4]byte{255, 255, 255, 255}):
		return "it stands for many hosts, and a story follows a packet between two"
	}
	return ""
}

// resolveTo takes NAME:PORT. A service or a name that only one service or pod
// bears needs no port where it has one alone.
func (m *Mesh) resolveTo(text string) (entity, netip.AddrPort, error) {
	if strings.Contains(text, "://") {
		return entity{}, netip.AddrPort{}, &NameError{Flag: "--to", Name: text, Reason: "it takes no URL, but a service, a pod or an address, and a port: productpage:9080"}
	}
	name, portText, hasPort := cutPort(text)
	if name == "" {
		return entity{}, netip.AddrPort{}, &NameError{Flag: "--to", Name: fmt.Sprintf("%q", text), Reason: "it takes a service, a pod or an address, and a port: productpage:9080"}
	}
	e, err := m.target(text, name)
	if err != nil {
		return e, netip.AddrPort{}, err
	}
	if !hasPort {
		if e.kind == serviceEntity && len(e.ports) == 1 {
			return e, netip.AddrPortFrom(e.ip, e.ports[0]), nil
		}
		reason := "it names no port: give it as " + name + ":PORT"
		var have []string
		for _, p := range e.ports {
			have = append(have, strconv.Itoa(int(p)))
		}
		if len(have) > 0 {
			reason += ". The service has"
		}
		return e, netip.AddrPort{}, &NameError{Flag: "--to", Name: text, Reason: reason, Candidates: have}
	}
	port, err := strconv.ParseUint(portText, 10, 16)
	if err != nil || port == 0 {
		return e, netip.AddrPort{}, &NameError{Flag: "--to", Name: text, Reason: fmt.Sprintf("%q is not a port", portText)}
	}
	return e, netip.AddrPortFrom(e.ip, uint16(port)), nil
}

func cutPort(text string) (name, port string, ok bool) {
	if a, err := netip.ParseAddrPort(text); err == nil {
		return a.Addr().String(), strconv.Itoa(int(a.Port())), true
	}
	i := strings.LastIndexByte(text, ':')
	if i < 0 || strings.Count(text, ":") > 1 { // an IPv6 address has several
		return strings.Trim(text, "[]"), "", false
	}
	return text[:i], text[i+1:], true
}

func (m *Mesh) target(text, name string) (entity, error) {
	if ip, err := netip.ParseAddr(name); err == nil {
		return m.address("--to", text, ip, serviceEntity, podEntity, nodeEntity)
	}
	list := m.named(name, serviceEntity)
	if len(list) == 1 && !list[0].ip.IsValid() {
		return m.headless(text, list[0])
	}
	if len(list) == 0 {
		list = m.named(name, podEntity)
	}
	if len(list) == 0 {
		list = m.named(name, nodeEntity)
	}
	return m.one("--to", text, list, serviceEntity, podEntity, nodeEntity)
}

// headless is a service without an address of its own: its name leads to its
// endpoints' addresses.
func (m *Mesh) headless(text string, s entity) (entity, error) {
	var have []string
	for _, p := range s.services {
		for _, e := range p.endpoints {
			have = append(have, e.String())
		}
	}
	slices.SortFunc(have, cmp.Compare)
	return s, &NameError{Flag: "--to", Name: text, Reason: s.full() + " has no address of its own (headless); give one of its endpoints", Candidates: slices.Compact(have)}
}
