// SPDX-License-Identifier: Apache-2.0

package xds

import (
	"slices"
	"testing"
	"time"
)

func TestDeltaNACK(t *testing.T) {
	s, w := start(t), newWorld(t)
	w.set(s.Server)
	c := s.delta()
	subscribeAll(c)
	w.listeners["ztunnel_inbound"], w.listeners["ztunnel_outbound"] = "beta", "alpha"
	w.set(s.Server)
	a := c.next()
	nack := deltaAck(a)
	nack.ErrorDetail = refusal("Error adding/updating listener(s) ztunnel_outbound: no such filter\n")
	c.send(nack)
	eventually(t, "the NACK is counted", func() bool { return s.metric("nacks_total", "listener") == 1 })

	line := s.log.line("level=ERROR", "proxy rejected configuration")
	for _, part := range []string{"node=" + proxyID, "type=listener", "no such filter", "resources=[ztunnel_outbound]", "version=" + a.SystemVersionInfo} {
		if s.log.line("proxy rejected configuration", part) == "" {
			t.Errorf("log line %q lacks %q", line, part)
		}
	}
	status := s.Status()[0].Types
	i := slices.IndexFunc(status, func(t TypeStatus) bool { return t.Type == listeners.typeURL() })
	got := status[i]
	if got.NACKs != 1 || got.LastNACK == nil || got.LastNACK.Code != 13 || got.LastNACK.Version != a.SystemVersionInfo ||
		!slices.Equal(got.LastNACK.Resources, []string{"ztunnel_outbound"}) {
		t.Errorf("status %+v, NACK %+v", got, got.LastNACK)
	}

	// Not sent again; others go on; and nothing that the old listener may use
	// is taken away.
	w.listeners["ztunnel_inbound"] = "alpha"
	w.removeCluster("beta")
	w.addCluster("gamma")
	w.set(s.Server)
	wantDelta(c, "cluster gamma")
	wantDelta(c, "listener ztunnel_inbound")
	c.send(subscribe(extensions, "workload_metadata"))
	wantDelta(c, "extension workload_metadata")
	c.quiet()

	// Mended: it is sent, and once accepted the removal follows.
	w.listeners["ztunnel_outbound"] = "gamma"
	w.set(s.Server)
	wantDelta(c, "listener ztunnel_outbound")
	wantDelta(c, "endpoint -beta")
	wantDelta(c, "cluster -beta")
	eventually(t, "nothing is rejected any more", func() bool {
		return len(s.Status()[0].Types[i].Rejected) == 0
	})
	c.quiet()
}

// TestDeltaRejectedResourceThatGoesAway: what is served no longer holds nothing
// back.
func TestDeltaRejectedResourceThatGoesAway(t *testing.T) {
	s, w := start(t), newWorld(t)
	w.set(s.Server)
	c := s.delta()
	c.send(subscribe(clusters))
	wantDelta(c, "cluster alpha beta")
	w.addCluster("gamma")
	w.set(s.Server)
	nack := deltaAck(c.next())
	nack.ErrorDetail = refusal("bad")
	c.send(nack)
	w.removeCluster("gamma")
	w.set(s.Server)
	wantDelta(c, "cluster -gamma")
}

func TestSotwNACK(t *testing.T) {
	s, w := start(t), newWorld(t)
	w.set(s.Server)
	c := s.sotw()
	c.send(ask(clusters))
	good := wantSotw(c, "cluster alpha beta")
	w.clusters["alpha"] = time.Minute
	w.set(s.Server)
	a := c.next()
	nack := ack(a)
	nack.VersionInfo = good.VersionInfo // as the protocol has it: what still runs
	nack.ErrorDetail = refusal("Error adding/updating cluster(s) alpha: bad timeout")
	c.send(nack)
	eventually(t, "the NACK is counted", func() bool { return s.metric("nacks_total", "cluster") == 1 })
	status := s.Status()[0].Types[0]
	if status.Accepted != good.VersionInfo || status.Sent != a.VersionInfo || !slices.Equal(status.Rejected, []string{"alpha"}) {
		t.Errorf("status %+v", status)
	}

	// Another type's change doesn't bring it back.
	c.send(ask(extensions, "workload_metadata"))
	wantSotw(c, "extension workload_metadata", "workload_metadata")
	w.extension = "second"
	w.set(s.Server)
	wantSotw(c, "extension workload_metadata", "workload_metadata")
	c.quiet()

	w.clusters["alpha"] = time.Second
	w.set(s.Server)
	if last := wantSotw(c, "cluster alpha beta"); last.VersionInfo != good.VersionInfo {
		t.Errorf("version %s, want that of the same content, %s", last.VersionInfo, good.VersionInfo)
	}
}

func TestCulprits(t *testing.T) {
	names := []string{"ztunnel_inbound", "ztunnel_inbound_plaintext", "outbound_tunnel_lis_spiffe://td/ns/a/sa/b", "x"}
	for message, want := range map[string][]string{
		"Error adding/updating listener(s) ztunnel_inbound_plaintext: duplicate": {"ztunnel_inbound_plaintext"},
		"ztunnel_inbound: a, ztunnel_inbound_plaintext: b":                       {"ztunnel_inbound", "ztunnel_inbound_plaintext"},
		`listener "outbound_tunnel_lis_spiffe://td/ns/a/sa/b" is bad`:            {"outbound_tunnel_lis_spiffe://td/ns/a/sa/b"},
		"Proto constraint validation failed (xyz)":                               nil,
		"": nil,
	} {
		if got := culprits(message, names); !slices.Equal(got, want) {
			t.Errorf("%q names %q, want %q", message, got, want)
		}
	}
	if got := culprits("anything", names[:1]); !slices.Equal(got, []string{"ztunnel_inbound"}) {
		t.Errorf("a response of one resource: %q", got)
	}
}
