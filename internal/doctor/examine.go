// SPDX-License-Identifier: Apache-2.0

package doctor

import (
	"cmp"
	"errors"
	"fmt"
	"net/netip"
	"slices"

	"github.com/ambient22/ambient22/internal/dump"
	"github.com/ambient22/ambient22/internal/dump/setsave"
	"github.com/ambient22/ambient22/internal/nodediff"
	"github.com/ambient22/ambient22/internal/trace/story"
	"github.com/ambient22/ambient22/internal/trace/story/proxyview"
	"github.com/ambient22/ambient22/noderoute"
)

// exam is one node being looked at.
type exam struct {
	Input
	report *Report
	mesh   *story.Mesh
	// proxy is the ztunnel's configuration; proxyErr says why it is not known.
	proxy    *proxyview.Proxy
	proxyErr error
	names    proxyview.Names
	set      *setsave.Set // of the captured pods; nil where the dump has none
	other    netip.Addr   // whom pods are made to talk with
	diff     *nodediff.Report
	diffErr  error
}

// Examine looks at one node. The error is about a dump that nothing can be told of.
func Examine(in Input) (*Report, error) {
	if in.Node == nil || in.Node.Host == nil {
		return nil, errors.New("examining a node: its own network namespace is not in the dump")
	}
	mesh, err := story.New([]*dump.Node{in.Node})
	if err != nil {
		return nil, fmt.Errorf("examining node %s: %w", in.Node.Name, err)
	}
	x := &exam{Input: in, mesh: mesh, report: &Report{Version: 1, Node: in.Node.Name, Source: "dump"}}
	if in.Live != nil {
		x.report.Source = "node"
	}
	x.readProxy()
	if w := in.Node.Workloads; (w == nil || w.Node == "") && x.proxy != nil && in.Live != nil {
		// Without the node controller the dump has the machine's name only.
		x.report.Node = cmp.Or(x.proxy.Node.Node, x.report.Node)
	}
	for _, s := range in.Node.Host.Sets {
		if s.Name == setName {
			x.set = s
		}
	}
	x.other = x.peer()
	x.diff, x.diffErr = nodediff.Plan(in.Node, nodediff.Options{})
	x.checkNode()
	for _, p := range x.pods() {
		x.report.Pods = append(x.report.Pods, x.pod(p))
	}
	x.report.sort()
	return x.report, nil
}

// setName is the set of the captured pods' addresses.
const setName = noderoute.SetName

func (x *exam) readProxy() {
	z := x.Node.Ztunnel
	switch {
	case z == nil:
		x.proxyErr = errors.New("the ztunnel's network namespace is not there")
	case len(z.ConfigDump) == 0:
		x.proxyErr = errors.New(cmp.Or(z.Missing[dump.KindConfigDump], "the dump has no config_dump"))
	default:
		x.proxy, x.proxyErr = x.mesh.Proxy(x.Node)
	}
	if x.proxy != nil {
		x.names = x.proxy.Names()
	}
}

// pods are the node's pods: those that the node controller knows, else those that
// the set and the ztunnel's configuration know.
func (x *exam) pods() []dump.Pod {
	if w := x.Node.Workloads; w != nil {
		var here []dump.Pod
		node := cmp.Or(w.Node, x.Node.Name)
		for _, p := range w.Pods {
			if p.Node == node {
				here = append(here, p)
			} else {
				x.report.Elsewhere = append(x.report.Elsewhere, Elsewhere{p.Namespace, p.Name, p.Node})
			}
		}
		return here
	}
	found := map[netip.Addr]dump.Pod{}
	if x.set != nil {
		for _, e := range x.set.Entries {
			if ip, err := netip.ParseAddr(e.Elem); err == nil {
				found[ip] = dump.Pod{IP: ip, UID: e.Comment, Enrolled: true, Captured: true}
			}
		}
	}
	for _, p := range x.names.Pods {
		if p.Local && !x.ownAddress(p.IP) {
			found[p.IP] = dump.Pod{IP: p.IP, Namespace: p.Namespace, Name: p.Name, ServiceAccount: p.Account, Enrolled: true, Captured: true}
		}
	}
	out := make([]dump.Pod, 0, len(found))
	for _, p := range found {
		out = append(out, p)
	}
	slices.SortFunc(out, func(a, b dump.Pod) int { return a.IP.Compare(b.IP) })
	return out
}

// ownAddress tells that an address is the node's: that of pods which use its network.
func (x *exam) ownAddress(ip netip.Addr) bool {
	for _, l := range x.Node.Host.Links {
		for _, a := range l.Addrs {
			if a.Prefix.Addr() == ip {
				return true
			}
		}
	}
	return false
}
