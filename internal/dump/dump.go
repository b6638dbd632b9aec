// SPDX-License-Identifier: Apache-2.0

// Package dump is what one node looked like at one moment: the output of
// iptables-save, ip, ipset, nft, conntrack and sysctl in its network namespaces,
// and the configuration of its ztunnel. It reads and writes archives of that;
// the packages below it parse the texts, collect takes them from a running node.
package dump

import (
	"net/netip"
	"time"

	"github.com/ambient22/ambient22/internal/dump/conntrack"
	"github.com/ambient22/ambient22/internal/dump/iproute"
	"github.com/ambient22/ambient22/internal/dump/iptsave"
	"github.com/ambient22/ambient22/internal/dump/nft"
	"github.com/ambient22/ambient22/internal/dump/setsave"
)

// Node is one node's dump, parsed.
type Node struct {
	Name  string // the node's name, or the file's where it is not known
	Taken time.Time
	Host  *Netns
	// Ztunnel is the network namespace of the node's active ztunnel pod; nil where
	// the dump does not have it.
	Ztunnel *Netns
	// Pods are further namespaces, by "NAMESPACE/NAME".
	Pods []*Netns
	// Workloads are the pods and services that the node controller knew.
	Workloads *Workloads
	// Gaps says what the dump does not have, and why ("host: ipset-save: not
	// installed"). Whoever reads a dump shows them: absence is not emptiness.
	Gaps []string
	// Loose tells that this was no archive of ours, but files whose kinds were
	// recognised by what stands in them.
	Loose bool
}

// Netns is one network namespace. A nil field or slice whose name is in Missing
// was not taken; one that isn't was empty.
type Netns struct {
	Name string // "host", "ztunnel", "NAMESPACE/NAME" of a pod
	// NFT and Legacy are the two variants of iptables-save; at least one is empty
	// on a healthy node.
	NFT, Legacy *iptsave.Save
	Ruleset     *nft.Ruleset // nft list ruleset: what iptables-save cannot show
	Rules       []*iproute.Rule
	Routes      []*iproute.Route
	Links       []*iproute.Link
	Sets        []*setsave.Set
	Conns       []*conntrack.Conn
	Sysctls     map[string]string // "net.ipv4.conf.all.rp_filter" → "0"
	// ConfigDump is the ztunnel's config_dump, without secrets.
	ConfigDump []byte
	// Missing says why kinds are not there.
	Missing map[Kind]string
	// Partial says of kinds that are there only in part what that part is: "cut
	// off after 100000 lines", "an excerpt", "only table 101".
	Partial map[Kind]string
	// Loose: its texts are no archive's. Who took them may have asked for one table
	// only (iptables-save -t nat).
	Loose bool
	// Files are the names of the files in the archive or folder that a kind came
	// from; more than one only where they are loose.
	Files map[Kind][]string
}

// Excerpt is what Netns.Partial says of a listing from which people left lines out.
const Excerpt = "an excerpt"

// Kind is a kind of text in a dump.
type Kind string

// The kinds, which are the files' names in an archive, without ".txt".
const (
	KindNFTSave    Kind = "iptables-nft-save"
	KindLegacySave Kind = "iptables-legacy-save"
	KindRuleset    Kind = "nft-ruleset"
	KindRules      Kind = "ip-rule"
	KindRoutes     Kind = "ip-route"
	KindLinks      Kind = "ip-addr"
	KindSets       Kind = "ipset-save"
	KindConns      Kind = "conntrack"
	KindSysctls    Kind = "sysctl"
	KindConfigDump Kind = "config_dump"
)

// Workloads is what the node controller knows of the mesh, as far as names go.
type Workloads struct {
	// Node is the name of the node whose controller said so.
	Node     string    `json:"node,omitempty"`
	Pods     []Pod     `json:"pods"`
	Services []Service `json:"services"`
}

// Pod is one pod of the mesh.
type Pod struct {
	Namespace      string     `json:"namespace"`
	Name           string     `json:"name"`
	UID            string     `json:"uid,omitempty"`
	IP             netip.Addr `json:"ip"`
	Node           string     `json:"node"`
	ServiceAccount string     `json:"serviceAccount,omitempty"`
	// HostNetwork: the pod has its node's network, and its address.
	HostNetwork bool `json:"hostNetwork,omitempty"`
	// Enrolled tells that the mesh wants it captured.
	Enrolled bool `json:"enrolled,omitempty"`
	// Captured tells that it takes part; Reason says why it does not.
	Captured bool   `json:"captured"`
	Reason   string `json:"reason,omitempty"`
}

// Service is one service.
type Service struct {
	Namespace string        `json:"namespace"`
	Name      string        `json:"name"`
	IP        netip.Addr    `json:"ip"`
	Ports     []ServicePort `json:"ports"`
}

// ServicePort is one port of a service with the endpoints behind it.
type ServicePort struct {
	Name      string           `json:"name,omitempty"`
	Port      uint16           `json:"port"`
	Endpoints []netip.AddrPort `json:"endpoints"`
}
