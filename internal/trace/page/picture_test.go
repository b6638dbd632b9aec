// SPDX-License-Identifier: Apache-2.0

package page

import (
	"testing"

	"github.com/ambient22/ambient22/internal/trace/story"
)

// at is a step for a picture.
func at(id, kind, node, space, pod, hook, table, device string) story.Stop {
	return story.Stop{ID: id, Kind: kind, Matched: true, Decisive: true, Text: id,
		Place: story.Place{Node: node, Space: space, Pod: pod, Hook: hook, Table: table, Device: device}}
}

// oneNode is a call between two pods of a node without a mesh.
func oneNode() *story.Story {
	return &story.Story{Legs: []story.Leg{{ID: "1", Stops: []story.Stop{
		at("1.1", "route", "a", "pod", "default/one", "", "routing", "eth0"),
		at("1.2", "rule", "a", "host", "", "PREROUTING", "mangle", "veth1"),
		at("1.3", "route", "a", "host", "", "", "routing", "veth2"),
		at("1.4", "device", "a", "host", "", "", "", "veth2"),
		at("1.5", "socket", "a", "pod", "default/two", "", "", "eth0"),
	}}}}
}

// threeNodes is a way over a node in the middle.
func threeNodes() *story.Story {
	var stops []story.Stop
	for _, n := range []string{"a", "b", "c"} {
		stops = append(stops,
			at("1."+n+"1", "route", n, "pod", "ns/pod-"+n, "", "routing", "eth0"),
			at("1."+n+"2", "hook", n, "host", "", "PREROUTING", "mangle", "veth"+n),
			at("1."+n+"3", "hook", n, "host", "", "SOMETHING", "mangle", "veth"+n),
			at("1."+n+"4", "device", n, "host", "", "", "", "uplink"),
			at("1."+n+"5", "device", "", "link", "", "", "", "uplink"))
	}
	return &story.Story{Legs: []story.Leg{{ID: "1", Stops: stops}}}
}

func TestPicture(t *testing.T) {
	for name, s := range map[string]*story.Story{
		"article": read(t, "article.json"), "missed": read(t, "missed.json"), "one node": oneNode(), "three nodes": threeNodes(), "hostile": hostile(), "empty": {},
	} {
		p := draw(walk(s), ztunnelNames(s))
		for i, a := range p.Spots {
			if a.W <= 0 || a.H <= 0 || a.X < 0 || a.Y < 0 || a.X+a.W > p.W || a.Y+a.H > p.H {
				t.Errorf("%s: %q %+v is not in the picture of %d×%d", name, a.Title, a.box, p.W, p.H)
			}
			for _, b := range p.Spots[i+1:] {
				if a.X < b.X+b.W && b.X < a.X+a.W && a.Y < b.Y+b.H && b.Y < a.Y+a.H {
					t.Errorf("%s: %q %+v and %q %+v overlap", name, a.Title, a.box, b.Title, b.box)
				}
			}
		}
		for _, a := range p.Areas {
			if a.X < 0 || a.X+a.W > p.W || a.Y+a.H > p.H {
				t.Errorf("%s: %s %q %+v is not in the picture of %d×%d", name, a.Kind, a.Title, a.box, p.W, p.H)
			}
		}
	}
}

// A step's way leads over the device that it comes in by.
func TestWay(t *testing.T) {
	r := walk(oneNode())
	want := [][]string{{"default/one"}, {"veth1", "PREROUTING"}, {"routing"}, {"veth2"}, {"default/two"}}
	for i, way := range r.ways {
		for j, s := range way {
			if j >= len(want[i]) || s.Title != want[i][j] {
				t.Errorf("step %d passes %q, want %q", i, s.Title, want[i])
			}
		}
	}
	if r.ways[1][0].key.role != rolePodVeth || r.ways[3][0].key.role != rolePodVeth {
		t.Error("the devices do not lead to the pods")
	}
}

func TestLabel(t *testing.T) {
	for name, want := range map[string]string{"short": "short", "ztunnel-rts54-long-name": "ztunne…-name", "zürich-köln-österreich": "zürich…reich"} {
		if got := label(name, 12); got != want {
			t.Errorf("%s becomes %s, want %s", name, got, want)
		}
	}
}
