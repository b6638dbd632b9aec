// SPDX-License-Identifier: Apache-2.0

// Package kube runs a whole Kubernetes on this machine: one host with the control
// plane and two nodes, made by package host, on one link. Nothing of it is simulated
// but the machines: etcd, API server, controller manager, scheduler, kube-proxy,
// kubelet, containerd, runc and the CNI plugins are the released ones.
//
// The network is GKE's: one veth and one /32 route per pod (CNI plugin "ptp"), and a
// route between the nodes for each node's pod range.
package kube

import (
	"net/netip"
	"path/filepath"

	"github.com/ambient22/ambient22/hack/cluster/host"
)

// Cluster is one cluster. The zero value is none; see New.
type Cluster struct {
	Name     string   // part of everything that the machine shows of it
	Dir      string   // all its files
	Binaries string   // folder with Kubernetes, etcd and kubectl
	Init     []string // command that leads to host.InitMain, without its argument

	// WriteImages writes the archives that every node gets before its pods into a
	// folder, which goes with the cluster, and returns their paths.
	WriteImages func(dir string) ([]string, error)
}

// Node is a machine that runs pods.
type Node struct {
	Name    string
	Address netip.Addr
	Pods    netip.Prefix // its pods' addresses
}

// Control is the name of the host with the control plane.
const Control = "control"

// PauseImage is the image of every pod's first container, which
// Cluster.WriteImages must write.
const PauseImage = "ambient22.test/pause:cluster"

// The addresses are those of the article's cluster where it shows them, so that what
// a person sees here and what they read there look alike.
const (
	subnetBits     = 24
	controlAddress = "10.168.15.1"
	services       = "10.8.0.0/20"
	firstService   = "10.8.0.1" // the API server's
	allPods        = "10.4.0.0/16"
	mtu            = "1460" // a GKE node's
)

// Nodes are the cluster's nodes.
func Nodes() []Node {
	return []Node{
		{"node-a", netip.MustParseAddr("10.168.15.222"), netip.MustParsePrefix("10.4.4.0/24")},
		{"node-b", netip.MustParseAddr("10.168.15.224"), netip.MustParsePrefix("10.4.3.0/24")},
	}
}

// Hosts are the names of all the cluster's hosts.
func Hosts() []string {
	names := []string{Control}
	for _, n := range Nodes() {
		names = append(names, n.Name)
	}
	return names
}

// Kubeconfig is the file with which the cluster's administrator calls the API; it
// works in the network of any of the hosts.
func (c *Cluster) Kubeconfig() string { return filepath.Join(c.Dir, "admin.kubeconfig") }

// Logs is the folder of all daemons' logs.
func (c *Cluster) Logs() string { return filepath.Join(c.Dir, "log") }

func (c *Cluster) cgroup() string { return "/" + c.Name }

// spec is a host without its daemons.
func (c *Cluster) spec(name string) *host.Spec {
	return &host.Spec{Cluster: c.Name, Name: name, Dir: filepath.Join(c.Dir, name), Logs: c.Logs(), Binaries: c.Binaries}
}
