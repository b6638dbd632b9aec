// SPDX-License-Identifier: Apache-2.0

package xds

import "testing"

// TestSettled wants everything accepted, and the secret that is asked for.
func TestSettled(t *testing.T) {
	s, w := start(t), newWorld(t)
	w.set(s.Server)
	if s.Settled(podName) {
		t.Error("settled without a proxy")
	}
	c := s.delta()
	subscribeAll(c)
	sds := s.deltaSDS()
	sds.send(subscribe(secrets, podName))
	answer := sds.next()
	if s.Settled(podName) {
		t.Error("settled before the secret was accepted")
	}
	sds.send(deltaAck(answer))
	eventually(t, "settled", func() bool { return s.Settled(podName) })
	if s.Settled(sleepID) {
		t.Error("settled with a secret that nobody asked for")
	}

	w.listeners["ztunnel_inbound"] = "beta"
	w.set(s.Server)
	change := c.next()
	if s.Settled(podName) {
		t.Error("settled before the listener was accepted")
	}
	c.send(deltaAck(change))
	eventually(t, "settled again", func() bool { return s.Settled(podName) })

	w.set(s.Server) // nothing new
	eventually(t, "still settled", func() bool { return s.Settled(podName) })
}
