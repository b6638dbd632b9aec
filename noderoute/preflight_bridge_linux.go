// SPDX-License-Identifier: Apache-2.0

package noderoute

import (
	"fmt"
	"net/netip"
	"strings"
)

const (
	needsRoutes    = "the data path needs one veth and one /32 route per pod"
	routingPlugins = "use a CNI plugin that routes each pod (ptp, GKE's own, kindnet; minikube: --cni=kindnet) instead of one that bridges"
)

// gatewayProblem tells of a node that has no pod yet whether its pods will hang on
// a bridge: the address that pods have as gateway is then the bridge's.
func (s *session) gatewayProblem(ip netip.Addr, hop Hop) ([]Problem, error) {
	if !hop.Local {
		return nil, nil
	}
	bridge, err := s.bridge(hop.Dev)
	if err != nil || bridge == "" {
		return nil, err
	}
	return []Problem{{
		What:     fmt.Sprintf("the node's address towards pods, %s, is on %s, %s; %s", ip, hop.Dev, bridge, needsRoutes),
		Where:    "ip addr show " + hop.Dev,
		WayOut:   routingPlugins,
		Blocking: true,
	}}, nil
}

// bridge is "a bridge of", with the CNI plugin that usually makes one of this name,
// and empty where the device is none.
func (s *session) bridge(name string) (string, error) {
	links, err := s.links.Links()
	if err != nil {
		return "", err
	}
	is, flannel := false, false
	for _, l := range links {
		is = is || l.Name == name && l.Kind == "bridge"
		flannel = flannel || strings.HasPrefix(l.Name, "flannel")
	}
	switch {
	case !is:
		return "", nil
	case flannel && strings.HasPrefix(name, "cni"):
		return "a bridge of flannel", nil
	}
	return "a bridge" + ownerOf(name, []owned{
		{"cni", "the bridge plugin (flannel uses it, too)"},
		{"bridge", "the bridge plugin, minikube's default"},
		{"cbr", "kubenet"},
		{"kube-bridge", "kube-router"},
		{"weave", "Weave Net"},
		{"docker", "Docker"},
	}), nil
}

// ownerOfTunnel names who usually makes a tunnel device of this name.
func ownerOfTunnel(name string) string {
	return ownerOf(name, []owned{
		{"genev_sys_", "Open vSwitch (OVN, OVN-Kubernetes, Antrea)"},
		{"vxlan_sys_", "Open vSwitch (OVN, OpenShift SDN, Antrea)"},
		{"cilium_", "Cilium"},
		{"flannel", "flannel"},
		{"vxlan.calico", "Calico"},
	})
}

type owned struct{ prefix, by string }

func ownerOf(name string, known []owned) string {
	for _, o := range known {
		if strings.HasPrefix(name, o.prefix) {
			return " of " + o.by
		}
	}
	return ""
}
