// SPDX-License-Identifier: Apache-2.0

package lab

import (
	"bytes"
	"net/netip"
	"net/url"
	"path/filepath"
	"strings"
	"testing"

	"github.com/ambient22/ambient22/internal/dump"
	"github.com/ambient22/ambient22/internal/trace/story"
)

// Every way of the lab is told from dumps as the lab shows it: who is captured, who
// goes through a tunnel, what address the server sees, and by which rules.
func TestStoriesOfWays(t *testing.T) {
	inEveryForm(t, func(t *testing.T, l *Lab) {
		mesh := meshOf(t, l)
		for _, c := range callCases {
			t.Run(c.name, func(t *testing.T) { checkStory(t, l, mesh, &c) })
		}
		for _, c := range refusedCases {
			t.Run(c.name, func(t *testing.T) { checkRefused(t, l, mesh, c) })
		}
	})
}

// refusedCase is a call that does not arrive, and a part of the reason.
type refusedCase struct{ name, from, url, reason string }

var refusedCases = []refusedCase{
	{"a policy refuses a caller of the mesh", "notsleep", "http://productpage:9080/", "No policy allows spiffe://cluster.local/ns/default/sa/notsleep"},
	{"a policy refuses a caller without a tunnel", "outside-a", "http://10.4.3.20:9080/", "No policy allows a caller without an identity"},
	{"a port that the service does not have", "sleep", "http://productpage:81/", "There is no route for it"},
	{"the ztunnel's own port", "sleep", "http://10.4.3.30:15001/", "has no host, on purpose"},
}

// meshOf takes dumps of the lab's nodes.
func meshOf(t *testing.T, l *Lab) *story.Mesh {
	t.Helper()
	var nodes []*dump.Node
	for _, node := range l.Net.Topology.Nodes {
		text := output(t, l, node.Host, filepath.Join(l.BinDir, "ambientctl"), "dump", "--out", "-", "--pods", "all")
		archives, err := dump.LoadFrom(bytes.NewReader([]byte(text)))
		if err != nil {
			t.Fatal(err)
		}
		for _, a := range archives {
			n, err := a.Parse()
			if err != nil {
				t.Fatal(err)
			}
			nodes = append(nodes, n)
		}
	}
	mesh, err := story.New(nodes)
	if err != nil {
		t.Fatal(err)
	}
	return mesh
}

// query asks for the way of a call that a case makes.
func query(t *testing.T, l *Lab, from, target string) story.Query {
	t.Helper()
	u, err := url.Parse(target)
	if err != nil {
		t.Fatal(err)
	}
	q := story.Query{To: u.Host, Answer: true, ExplainMiss: true}
	if pod, ok := l.Net.Topology.Pod(from); ok {
		q.From = pod.Address.String()
		return q
	}
	node, ok := l.Net.Topology.Node(from)
	if !ok {
		t.Fatalf("there is no host %s", from)
	}
	q.From = node.Name
	return q
}

func checkStory(t *testing.T, l *Lab, mesh *story.Mesh, c *callCase) {
	s, err := mesh.Trace(query(t, l, c.from, c.url))
	if err != nil {
		t.Fatal(err)
	}
	// Within a node a tunnel does not show on the wire between nodes.
	tunnelled := c.wire == "hbone" || c.wire == "" && s.Outcome.Captured
	if !s.Outcome.Delivered || s.Outcome.Unknown || s.Outcome.Tunnelled != tunnelled || len(s.Doubts) > 0 {
		t.Errorf("%+v, doubts %q; want it delivered, tunnelled %v", s.Outcome, s.Doubts, tunnelled)
	}
	if s.Outcome.Captured != s.Miss.Captured {
		t.Errorf("captured %v, but why not: %+v", s.Outcome.Captured, s.Miss)
	}
	last := lastCall(s)
	if seen := sourceOfPacket(t, last.Packet); seen != c.seen {
		t.Errorf("the server sees %s in the story, and %s in the lab", seen, c.seen)
	}
	for _, m := range c.moves {
		if !matches(l, s, m) {
			t.Errorf("the packet takes this rule in the lab, and not in the story: %v", m)
		}
	}
	for _, m := range c.stays {
		if matches(l, s, m) {
			t.Errorf("the packet takes this rule in the story, and not in the lab: %v", m)
		}
	}
}

func checkRefused(t *testing.T, l *Lab, mesh *story.Mesh, c refusedCase) {
	if _, err := l.Call(t.Context(), c.from, c.url); err == nil {
		t.Error("in the lab it is answered")
	}
	s, err := mesh.Trace(query(t, l, c.from, c.url))
	if err != nil {
		t.Fatal(err)
	}
	if s.Outcome.Delivered || s.Outcome.Unknown || !strings.Contains(s.Outcome.Sentence, c.reason) {
		t.Errorf("%+v, want it to end because %q", s.Outcome, c.reason)
	}
}

// lastCall is the last leg that is no answer.
func lastCall(s *story.Story) *story.Leg {
	var last *story.Leg
	for i := range s.Legs {
		if !s.Legs[i].Answer {
			last = &s.Legs[i]
		}
	}
	return last
}

// sourceOfPacket is the address in "TCP SYN 10.0.0.1:1 → 10.0.0.2:2".
func sourceOfPacket(t *testing.T, packet string) string {
	t.Helper()
	ends, _, _ := strings.Cut(packet, " → ")
	addr, err := netip.ParseAddrPort(ends[strings.LastIndexByte(ends, ' ')+1:])
	if err != nil {
		t.Fatal(err)
	}
	return addr.Addr().String()
}

// matches tells that a packet of the story takes the rule (host, table, rule).
func matches(l *Lab, s *story.Story, rule [3]string) bool {
	line := l.rule(rule[2])
	for _, leg := range s.Legs {
		for _, stop := range leg.Stops {
			inPlace := strings.HasPrefix(rule[0], "ztunnel") == (stop.Place.Space == "ztunnel")
			if stop.Matched && stop.Line == line && stop.Place.Table == rule[1] && inPlace {
				return true
			}
		}
	}
	return false
}

// A story goes to a waypoint, and says that the rest is the waypoint's.
func TestStoryOfWaypoint(t *testing.T) {
	l := up(t, "nft")
	s, err := l.scene()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := s.apply(t.Context(), "waypoint.yaml", waypointPod, `"waypoint"`); err != nil {
		t.Fatal(err)
	}
	eventually(t, "calls go to the waypoint", func() error { return want(served(t, l), "_to_server_waypoint_proxy_") })
	told, err := meshOf(t, l).Trace(query(t, l, "sleep", "http://productpage:9080/"))
	if err != nil {
		t.Fatal(err)
	}
	o := told.Outcome
	if !o.Captured || !o.Unknown || o.Delivered || !strings.Contains(o.Sentence, "The tunnel reaches the pod default/bookinfo-productpage-waypoint itself, at port 15006. It is a waypoint") &&
		!strings.Contains(o.Sentence, "the tunnel reaches the pod default/bookinfo-productpage-waypoint itself, at port 15006. It is a waypoint") {
		t.Errorf("%+v", o)
	}
}

// A pod that ends tunnels itself gets them through the ztunnel of its node.
func TestStoryOfPodThatEndsTunnels(t *testing.T) {
	l := up(t, "legacy")
	s, err := l.scene()
	if err != nil {
		t.Fatal(err)
	}
	labelled := strings.Replace(readManifest(t, l, "bookinfo.yaml"), "    app: details\n    version: v1\n",
		"    app: details\n    version: v1\n    networking.istio.io/tunnel: h2\n", 1)
	if _, err := s.apply(t.Context(), "bookinfo.yaml", labelled, "virtual_inbound_hbone"); err != nil {
		t.Fatal(err)
	}
	for _, from := range []string{"sleep", "productpage"} {
		told, err := meshOf(t, l).Trace(query(t, l, from, "http://details:9080/"))
		if err != nil {
			t.Fatal(err)
		}
		last := lastCall(told)
		if o := told.Outcome; !o.Delivered || !o.Tunnelled || o.Unknown || !strings.HasSuffix(last.Packet, " → 10.4.3.15:15008") {
			t.Errorf("from %s: %+v, at last %s", from, o, last.Packet)
		}
	}
}
