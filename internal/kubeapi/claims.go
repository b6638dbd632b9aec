// SPDX-License-Identifier: Apache-2.0

package kubeapi

import (
	"net/netip"
	"sync"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/ambient22/ambient22/internal/mesh"
)

// claims are the pods whose network the CNI plugin saw made or removed, and of which
// the API server does not know as much yet: the kubelet reports a pod's address only
// after its network was made, and that it is gone after it was removed.
type claims struct {
	mu  sync.Mutex
	all map[types.UID]*claim
}

// claim is one pod's network.
type claim struct {
	container string // the sandbox whose network it is
	ip        netip.Addr
	reported  bool // the API server shows the same, which from now on counts
	gone      bool // the network was removed
}

// put notes a pod's new network. It replaces an earlier one.
func (c *claims) put(uid types.UID, container string, ip netip.Addr) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.all == nil {
		c.all = map[types.UID]*claim{}
	}
	c.all[uid] = &claim{container: container, ip: ip}
}

// drop forgets what put noted.
func (c *claims) drop(uid types.UID, container string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if known := c.all[uid]; known != nil && known.container == container {
		delete(c.all, uid)
	}
}

// remove notes that the network of a sandbox was removed. The pod has none then, also
// where the API server still shows its address. Runtimes remove networks twice, and
// old ones after new ones were made.
func (c *claims) remove(container string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, known := range c.all {
		if known.container == container {
			known.gone = true
		}
	}
}

// forget ends what is known of a pod that was deleted.
func (c *claims) forget(uid types.UID) {
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.all, uid)
}

// removed reports whether the pod's network is known to be gone.
func (c *claims) removed(uid types.UID) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	known := c.all[uid]
	return known != nil && known.gone
}

// overlay shows the pods of a node as the plugin saw them, where it knows more than
// the API server. The pods themselves are not changed.
func (c *claims) overlay(node string, pods []*corev1.Pod) []*corev1.Pod {
	c.mu.Lock()
	defer c.mu.Unlock()
	owner := make(map[string]types.UID, len(c.all)) // by address, of networks the API server does not show yet
	left := make(map[types.UID]bool)                // claims whose pod is not known
	for uid := range c.all {
		left[uid] = true
	}
	for _, p := range pods {
		delete(left, p.UID)
		known := c.all[p.UID]
		if known == nil || p.Spec.NodeName != node {
			continue
		}
		switch same := p.Status.PodIP == known.ip.String(); {
		case same && p.Status.Phase == corev1.PodRunning, finished(p):
			known.reported = true
		case !same && p.Status.PodIP != "" && (known.reported || known.gone):
			delete(c.all, p.UID) // its network is another one, of which nobody told
			continue
		}
		if !known.reported && !known.gone {
			owner[known.ip.String()] = p.UID
		}
	}
	for uid := range left {
		if c.all[uid].gone {
			delete(c.all, uid) // it came and went unseen
		}
	}
	for i, p := range pods {
		if p.Spec.NodeName != node || p.Spec.HostNetwork || finished(p) {
			continue
		}
		known := c.all[p.UID]
		switch taken := owner[p.Status.PodIP]; {
		case known != nil && known.gone:
			pods[i] = withAddress(p, "")
		case known != nil && !known.reported:
			pods[i] = withAddress(p, known.ip.String())
		case taken != "" && taken != p.UID:
			pods[i] = withAddress(p, "") // a newer network has it
		case known == nil && wasCaptured(p):
			shown := *p
			shown.Status.Phase = corev1.PodRunning
			pods[i] = &shown
		}
	}
	return pods
}

// wasCaptured reports whether a pod whose init containers still run is captured at a
// plugin's word that an earlier run was given: nobody else annotates a pending pod.
func wasCaptured(p *corev1.Pod) bool {
	return p.Status.Phase == corev1.PodPending && p.Status.PodIP != "" &&
		p.Annotations[mesh.AnnotationRedirection] == mesh.RedirectionEnabled
}

// finished reports whether nothing of a pod runs any more, whatever address it had.
func finished(p *corev1.Pod) bool {
	return p.Status.Phase == corev1.PodSucceeded || p.Status.Phase == corev1.PodFailed
}

// withAddress is a pod that runs and has this address, or none.
func withAddress(p *corev1.Pod, ip string) *corev1.Pod {
	shown := *p
	shown.Status.Phase, shown.Status.PodIP, shown.Status.PodIPs = corev1.PodRunning, ip, nil
	if ip != "" {
		shown.Status.PodIPs = []corev1.PodIP{{IP: ip}}
	}
	return &shown
}
