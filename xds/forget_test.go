// SPDX-License-Identifier: Apache-2.0

package xds

import "testing"

func TestForgetLetsGoOfEverything(t *testing.T) {
	s, w := start(t), newWorld(t)
	connected, changed := s.Proxies()
	if connected {
		t.Error("a proxy is said to be connected")
	}
	w.set(s.Server)
	c := s.delta()
	c.send(subscribe(clusters))
	wantDelta(c, "cluster alpha beta")
	<-changed
	connected, changed = s.Proxies()
	if !connected {
		t.Error("a connected proxy is not told of")
	}
	if s.Forget() || s.snapshot() == nil {
		t.Error("what a connected proxy has was let go")
	}
	c.close()
	<-changed
	if !s.Forget() || s.snapshot() != nil {
		t.Error("what was set is still held")
	}
	if n := s.metric("resources", clusters.String()); n != 0 || len(s.source.retained) != 0 {
		t.Errorf("%v clusters are counted as served, and certificates kept for %v", n, s.source.retained)
	}
	// The next proxy waits as at the start, and gets what is set then.
	c = s.delta()
	c.send(subscribe(clusters))
	w.set(s.Server)
	wantDelta(c, "cluster alpha beta")
}
