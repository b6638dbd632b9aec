// SPDX-License-Identifier: Apache-2.0

package noderoute

import (
	"errors"
	"fmt"
	"net/netip"

	"github.com/ambient22/ambient22/geneve"
)

// Pod is an enrolled pod of this node.
type Pod struct {
	UID string
	IP  netip.Addr
}

// HostConfig is what a node's data path depends on.
type HostConfig struct {
	// ZtunnelIP is the address of the active ztunnel pod. Its veth is found
	// from the kernel's route to it.
	ZtunnelIP netip.Addr
	// Draining are the other ztunnels that live on this node, the newest first. One
	// that was active keeps the connections it has for as long as it is named here
	// and has a route; a node can tell DrainSlots of them apart.
	Draining []netip.Addr
	// HostIP is the node's address inside its pod range, or its InternalIP
	// where it has none. Packets from it are never captured.
	HostIP netip.Addr
	// Tunnel is the kind of the tunnel devices; the zero value is Geneve.
	Tunnel geneve.Kind
	// TunnelPort is their UDP port; 0 stands for geneve.DefaultPort.
	TunnelPort uint16
	// DNSCapture sends the pods' DNS queries over UDP to ztunnel.
	DNSCapture bool
	// Hardened closes what the rules of listings 01 and 02 leave open on packets
	// that the node itself sends: other people's mark bits stay, and from whichever
	// of its addresses it sends, its packets to enrolled pods pass ztunnel by.
	Hardened bool
	// Pods are the enrolled pods, in any order.
	Pods []Pod
}

// PodConfig is what the rules inside a ztunnel pod depend on. The pod's address
// and its gateway are read from the kernel.
type PodConfig struct {
	// PodName stands in the prefix of the LOG rule.
	PodName string
	// LogRule puts a LOG rule before the others, as the article shows.
	LogRule bool
	// Tunnel and TunnelPort must be those of the node.
	Tunnel     geneve.Kind
	TunnelPort uint16
}

// ErrIPv6 says that an address is not IPv4. The 2022 data path was IPv4 only:
// half of it for an IPv6 pod would leave that pod outside the mesh unseen.
var ErrIPv6 = errors.New("only IPv4 is supported by this data path")

// ErrNoRoute says that a pod has no /32 route over a veth of its own.
var ErrNoRoute = errors.New("no /32 route over a veth of its own")

// ErrDuplicate says that an address belongs to two pods.
var ErrDuplicate = errors.New("the address belongs to another pod, too")

// PodError is a pod that was left out, and why.
type PodError struct {
	Pod Pod
	Err error
}

// Error names the pod and the reason.
func (e *PodError) Error() string {
	return fmt.Sprintf("leaving out pod %s (%s): %v", e.Pod.UID, e.Pod.IP, e.Err)
}

// Unwrap returns the reason.
func (e *PodError) Unwrap() error { return e.Err }

func (c HostConfig) withDefaults() HostConfig {
	if c.TunnelPort == 0 {
		c.TunnelPort = geneve.DefaultPort
	}
	return c
}

func (c PodConfig) withDefaults() PodConfig {
	if c.TunnelPort == 0 {
		c.TunnelPort = geneve.DefaultPort
	}
	return c
}

// check refuses a configuration that no plan can be made of.
func (c HostConfig) check() error {
	return errors.Join(checkAddr("ztunnel", c.ZtunnelIP), checkAddr("host", c.HostIP))
}

func checkAddr(whose string, ip netip.Addr) error {
	switch {
	case !ip.IsValid():
		return fmt.Errorf("checking %s address: there is none", whose)
	case !ip.Is4():
		return fmt.Errorf("checking %s address %s: %w", whose, ip, ErrIPv6)
	case ip.IsUnspecified(), ip.IsLoopback(), ip.IsMulticast():
		return fmt.Errorf("checking %s address %s: not the address of a host", whose, ip)
	}
	return nil
}
