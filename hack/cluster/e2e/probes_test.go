// SPDX-License-Identifier: Apache-2.0

//go:build e2e

package e2e

import (
	"context"
	"errors"
	"testing"
)

// probed is how often the pods have been asked, and what the kubelets made of it.
type probed struct {
	fromHost  map[string]uint64 // packets of the host to its pods, by node
	unhealthy int
}

func (w *world) kubeletState(t *testing.T) probed {
	t.Helper()
	p := probed{fromHost: map[string]uint64{}}
	for _, node := range nodes() {
		p.fromHost[node] = w.counters(t, node).of("mangle", "-A ztunnel-OUTPUT -s ")
	}
	failed, err := w.unhealthy(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	p.unhealthy = failed
	return p
}

// unhealthy is how many probes of captured pods have failed up to now.
func (w *world) unhealthy(ctx context.Context) (n int, err error) {
	for _, p := range w.captured(nodes()...) {
		found, err := w.api.events(ctx, meshed, p.Metadata.Name, "Unhealthy")
		if err != nil {
			return n, err
		}
		for _, e := range found {
			n += int(max(e.Count, 1))
		}
	}
	return n, nil
}

// testProbes: since the first look the kubelets have asked the pods by HTTP and TCP
// once a second, and by a command every five, and no probe has failed.
func (w *world) testProbes(t *testing.T, before probed) {
	const packets = 300 // at least, of each host to its pods: some six seconds of probes
	var now probed
	eventually(t, "probes", func() error {
		now = w.kubeletState(t)
		for node, n := range now.fromHost {
			if n < before.fromHost[node]+packets {
				return errors.New("there were not enough on " + node)
			}
		}
		return nil
	})
	for node, p := range pods(t, meshed, "productpage") {
		for _, c := range p.Status.ContainerStatuses {
			if !c.Ready || c.RestartCount > 0 {
				t.Errorf("%s on %s: ready %v, %d restarts", p.Metadata.Name, node, c.Ready, c.RestartCount)
			}
		}
	}
	if now.unhealthy > before.unhealthy {
		t.Errorf("%d probes of captured pods failed", now.unhealthy-before.unhealthy)
	}
	figure(t, "probes of captured pods by HTTP, TCP and command: %d packets of the hosts to their pods, 0 failures, 0 restarts",
		now.fromHost[nodes()[0]]+now.fromHost[nodes()[1]]-before.fromHost[nodes()[0]]-before.fromHost[nodes()[1]])
}
