// SPDX-License-Identifier: Apache-2.0

package main

import (
	"encoding/json"
	"net/http"
	"net/netip"
	"sync/atomic"

	nodedump "github.com/ambient22/ambient22/internal/dump"
	"github.com/ambient22/ambient22/internal/mesh"
)

// known answers at nodedump.WorkloadsPath with the pods and services of the mesh, and
// which of the pods are captured. Nothing of it is secret.
type known struct {
	node    string
	capture atomic.Pointer[mesh.Capture] // the last one; nobody changes it
}

// hear is told what the kernel does with the node's pods, and tells next.
func (k *known) hear(next func(*mesh.Capture)) func(*mesh.Capture) {
	return func(c *mesh.Capture) {
		k.capture.Store(c)
		if next != nil {
			next(c)
		}
	}
}

// beside puts the answer beside those of another handler.
func (k *known) beside(rest http.Handler) http.Handler {
	mux := http.NewServeMux()
	mux.Handle("/", rest)
	mux.Handle("GET "+nodedump.WorkloadsPath, k)
	return mux
}

func (k *known) ServeHTTP(w http.ResponseWriter, _ *http.Request) {
	c := k.capture.Load()
	if c == nil {
		http.Error(w, "the first comparison of node and mesh is not done", http.StatusServiceUnavailable)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	enc := json.NewEncoder(w)
	enc.SetIndent("", " ")
	// Whoever asked has gone where this fails.
	_ = enc.Encode(workloads(c, k.node))
}

func workloads(c *mesh.Capture, node string) *nodedump.Workloads {
	all := &nodedump.Workloads{Node: node, Pods: []nodedump.Pod{}, Services: []nodedump.Service{}}
	active := map[string]bool{}
	for i := range c.Snapshot.Workloads {
		w := &c.Snapshot.Workloads[i]
		if _, asked := active[w.Node]; !asked {
			active[w.Node] = c.Snapshot.ActiveZtunnel(w.Node) != nil
		}
		p := nodedump.Pod{
			Namespace: w.Namespace, Name: w.Name, UID: w.UID, IP: w.IP, Node: w.Node,
			ServiceAccount: w.ServiceAccount, HostNetwork: w.HostNetwork, Enrolled: w.Enrolled(),
		}
		p.Captured, p.Reason = captured(c, w, node, active[w.Node])
		all.Pods = append(all.Pods, p)
	}
	for _, p := range c.Snapshot.LeftOut {
		all.Pods = append(all.Pods, nodedump.Pod{Namespace: p.Namespace, Name: p.Name, UID: p.UID, Node: p.Node, Reason: p.Why})
	}
	for i := range c.Snapshot.Services {
		all.Services = append(all.Services, service(&c.Snapshot.Services[i]))
	}
	return all
}

// captured is whether a pod takes part, and why not. Of pods on other nodes only
// their own controllers know what became of them: here it is what the mesh wants.
func captured(c *mesh.Capture, w *mesh.Workload, node string, active bool) (bool, string) {
	_, inKernel := c.Pods[w.UID]
	switch refused := c.Refused[w.UID]; {
	case w.Node == node && inKernel:
		return true, ""
	case !w.Enrolled():
		return false, w.NotEnrolled
	case !active:
		return false, "no ztunnel is ready on node " + w.Node
	case w.Node != node:
		return true, ""
	case refused != "":
		return false, refused
	case c.Err != "":
		return false, "its node could not be made ready for it: " + c.Err
	}
	return false, "it is on its way into the kernel"
}

func service(s *mesh.Service) nodedump.Service {
	out := nodedump.Service{Namespace: s.Namespace, Name: s.Name, IP: s.VIP, Ports: []nodedump.ServicePort{}}
	for _, p := range s.Ports {
		port := nodedump.ServicePort{Name: p.Name, Port: p.Number, Endpoints: []netip.AddrPort{}}
		for _, e := range p.Endpoints {
			port.Endpoints = append(port.Endpoints, netip.AddrPortFrom(e.IP, e.Port))
		}
		out.Ports = append(out.Ports, port)
	}
	return out
}
