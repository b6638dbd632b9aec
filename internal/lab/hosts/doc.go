// SPDX-License-Identifier: Apache-2.0

// Package hosts turns a topology into network namespaces on this machine, runs
// commands and daemons in them, and takes everything away again.
package hosts

import (
	"path/filepath"

	"github.com/ambient22/ambient22/internal/lab/topology"
)

// Net is the hosts of one lab.
type Net struct {
	Name     string // of the lab; part of every namespace's name
	Dir      string // the lab's folder: logs, sockets, state
	Topology *topology.Topology
	Variant  string   // "nft" or "legacy": which iptables the hosts have
	Enter    []string // command that runs EnterMain, without its arguments
}

// Namespace is the name of a host's network namespace.
func (n *Net) Namespace(host string) string { return n.Name + "-" + host }

// Namespaces are those of all hosts.
func (n *Net) Namespaces() []string {
	var names []string
	for _, host := range n.Topology.Hosts() {
		names = append(names, n.Namespace(host))
	}
	return names
}

// tools is the folder that comes first in the hosts' PATH.
func (n *Net) tools() string { return filepath.Join(n.Dir, "tools") }

// LogFile is where a daemon's output goes.
func (n *Net) LogFile(host, daemon string) string {
	return filepath.Join(n.Dir, "log", host+"."+daemon+".log")
}
