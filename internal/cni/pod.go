// SPDX-License-Identifier: Apache-2.0

package cni

import (
	"context"
	"net/netip"
)

// Where plugin and controller meet, unless they are told otherwise.
const (
	DefaultSocket = "/run/ambient22/cni.sock"
	DefaultState  = "/etc/ambient-config/config.json"
)

// Pod is a pod as a container runtime speaks of it while it makes, checks or removes
// the pod's network.
type Pod struct {
	ContainerID string       `json:"containerID"` // of the sandbox: another one when the pod gets a new network
	Namespace   string       `json:"namespace"`
	Name        string       `json:"name"`
	UID         string       `json:"uid,omitempty"` // "" where the runtime does not tell
	IPs         []netip.Addr `json:"ips,omitempty"`
}

// Answer is what became of a pod that was not refused.
type Answer struct {
	Captured bool   `json:"captured"`
	Why      string `json:"why,omitempty"` // why it is not captured, in words for a person

	// Secret is the name of a captured pod's certificate; the plugin is not told.
	Secret string `json:"-"`
}

// Controller answers plugins.
type Controller interface {
	// Add returns when the pod is captured, or when it takes no part. A *Refusal
	// says why it must not start.
	Add(context.Context, Pod) (Answer, error)
	// Check says how the pod stands, and a *Refusal that it is not as it should be.
	Check(context.Context, Pod) (Answer, error)
	// Del forgets a pod whose network goes.
	Del(Pod)
}

// Refusal is an error that people read in the events of a pod that does not start.
type Refusal struct {
	// Starting says that the controller does not know the mesh yet: it is as if it
	// did not run.
	Starting bool `json:"starting,omitempty"`
	// Again says that the same may go well a little later.
	Again  bool   `json:"again,omitempty"`
	What   string `json:"what"`
	WayOut string `json:"wayOut,omitempty"`
}

// Error is what happened and the way out.
func (r *Refusal) Error() string {
	if r.WayOut == "" {
		return r.What
	}
	return r.What + "; " + r.WayOut
}
