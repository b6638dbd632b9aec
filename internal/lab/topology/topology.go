// SPDX-License-Identifier: Apache-2.0

// Package topology describes the hosts of a lab as data: nodes, the pods that
// hang on them, addresses, and what was there before the mesh. It is pure.
package topology

import (
	"errors"
	"fmt"
	"io/fs"
	"net/netip"
	"regexp"

	"sigs.k8s.io/yaml"
)

// Topology is one lab.
type Topology struct {
	Name     string    `json:"name"`
	MTU      int       `json:"mtu"` // of every link, in bytes
	Sysctls  Sysctls   `json:"sysctls"`
	Nodes    []Node    `json:"nodes"`
	Pods     []Pod     `json:"pods"`
	Services []Service `json:"services"`
}

// Sysctls are kernel settings by kind of host, names with dots.
type Sysctls struct {
	Node map[string]string `json:"node"`
	Pod  map[string]string `json:"pod"`
}

// Node is one Kubernetes node. All nodes are on one link.
type Node struct {
	Host    string       `json:"host"` // the lab's name for it
	Name    string       `json:"name"` // the Kubernetes name
	Address netip.Prefix `json:"address"`
	PodCIDR netip.Prefix `json:"podCIDR"`
	Gateway netip.Addr   `json:"gateway"` // the node's address on the pods' side
	Ztunnel string       `json:"ztunnel"` // the lab's name of the node's ztunnel pod
	Rules   string       `json:"rules"`   // file of iptables rules that are there before
}

// Pod is one pod. Its eth0 has the address with the length of the node's pod
// range.
type Pod struct {
	Host      string     `json:"host"` // the lab's name for it
	Node      string     `json:"node"` // the lab's name of its node
	Address   netip.Addr `json:"address"`
	Veth      string     `json:"veth"` // the node's end
	Namespace string     `json:"namespace"`
	Pod       string     `json:"pod"`   // the Kubernetes name
	Serve     uint16     `json:"serve"` // port of its HTTP server, 0 for none
}

// Service is a name that pods can resolve.
type Service struct {
	Name      string     `json:"name"`
	Namespace string     `json:"namespace"`
	Address   netip.Addr `json:"address"`
}

// Names are the names under which the cluster's DNS knows the service.
func (s *Service) Names() []string {
	short := s.Name + "." + s.Namespace
	return []string{s.Name, short, short + ".svc", short + ".svc.cluster.local"}
}

// Load reads topology.yaml from a folder and checks it.
func Load(folder fs.FS) (*Topology, error) {
	data, err := fs.ReadFile(folder, "topology.yaml")
	if err != nil {
		return nil, fmt.Errorf("reading the topology: %w", err)
	}
	t := &Topology{}
	if err := yaml.UnmarshalStrict(data, t); err != nil {
		return nil, fmt.Errorf("reading topology.yaml: %w", err)
	}
	if err := t.check(); err != nil {
		return nil, fmt.Errorf("checking topology.yaml: %w", err)
	}
	return t, nil
}

// Node returns the node that a host name stands for.
func (t *Topology) Node(host string) (*Node, bool) {
	for i := range t.Nodes {
		if t.Nodes[i].Host == host {
			return &t.Nodes[i], true
		}
	}
	return nil, false
}

// Pod returns the pod that a host name stands for.
func (t *Topology) Pod(host string) (*Pod, bool) {
	for i := range t.Pods {
		if t.Pods[i].Host == host {
			return &t.Pods[i], true
		}
	}
	return nil, false
}

// Hosts are the names of all hosts, nodes first.
func (t *Topology) Hosts() []string {
	var hosts []string
	for _, n := range t.Nodes {
		hosts = append(hosts, n.Host)
	}
	for _, p := range t.Pods {
		hosts = append(hosts, p.Host)
	}
	return hosts
}

// hostName keeps host names fit for a network namespace's name.
var hostName = regexp.MustCompile(`^[a-z0-9]([a-z0-9-]*[a-z0-9])?$`)

// longestDevice is IFNAMSIZ less the terminating byte.
const longestDevice = 15

func (t *Topology) check() error {
	var errs []error
	fail := func(format string, args ...any) { errs = append(errs, fmt.Errorf(format, args...)) }
	if t.MTU < 576 {
		fail("mtu %d: smaller than IPv4 allows", t.MTU)
	}
	seen := map[string]string{}
	once := func(host, what string) {
		if before, taken := seen[what]; taken {
			fail("%s and %s: both have %s", before, host, what)
		}
		seen[what] = host
	}
	for _, host := range t.Hosts() {
		if !hostName.MatchString(host) {
			fail("host %q: not a name of small letters, digits and dashes", host)
		}
		once(host, "host name "+host)
	}
	for _, n := range t.Nodes {
		once(n.Host, "address "+n.Address.Addr().String())
		if !n.Address.Addr().Is4() || !n.PodCIDR.Contains(n.Gateway) {
			fail("%s: needs an IPv4 address, and a gateway inside its podCIDR", n.Host)
		}
		if z, ok := t.Pod(n.Ztunnel); n.Ztunnel != "" && (!ok || z.Node != n.Host) {
			fail("%s: its ztunnel %s is not a pod on it", n.Host, n.Ztunnel)
		}
	}
	for _, p := range t.Pods {
		once(p.Host, "address "+p.Address.String())
		once(p.Host, "veth "+p.Veth+" on "+p.Node)
		n, ok := t.Node(p.Node)
		if !ok {
			fail("%s: no node %q", p.Host, p.Node)
			continue
		}
		if !n.PodCIDR.Contains(p.Address) || p.Address == n.Gateway {
			fail("%s: %s is no pod address of %s", p.Host, p.Address, n.Host)
		}
		if p.Veth == "" || len(p.Veth) > longestDevice {
			fail("%s: veth %q is no device name", p.Host, p.Veth)
		}
	}
	return errors.Join(errs...)
}
