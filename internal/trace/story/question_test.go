// SPDX-License-Identifier: Apache-2.0

package story

import (
	"slices"
	"strings"
	"testing"

	"github.com/ambient22/ambient22/internal/dump"
	"github.com/ambient22/ambient22/internal/dump/dumptest"
)

// Questions about what no story can be told of name the thing and the way out.
func TestQuestionsRefused(t *testing.T) {
	m := meshOf(t, dumptest.Open(t, dumptest.Geneve))
	for _, c := range []struct{ from, to, want string }{
		{"sleep", "[2001:db8::1]:80", "--to [2001:db8::1]:80: it is not IPv4"},
		{"sleep", "127.0.0.1:80", "it is a loopback address"},
		{"127.0.0.1", "sleep:80", "it is a loopback address"},
		{"sleep", "0.0.0.0:80", "it is no host's address"},
		{"sleep", "224.0.0.1:80", "it stands for many hosts"},
		{"sleep", "255.255.255.255:80", "it stands for many hosts"},
		{"sleep", "http://productpage:9080/", "it takes no URL"},
		{"10.8.14.226", "sleep:80", "it is the address of the service default/productpage"},
		{"192.168.127.1", "sleep:80", "it is the address of a tunnel device"},
	} {
		_, err := m.Trace(Query{From: c.from, To: c.to})
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("from %s to %s: %v, want %q", c.from, c.to, err, c.want)
		}
	}
}

func TestSentences(t *testing.T) {
	for _, c := range []struct{ name, from, to, want string }{
		{"a node's address is the node", "sleep", "10.168.15.222:10250",
			"reaches gke-jimmy-cluster-default-pool-d5041909-d10i, and gets no answer. The answer is lost"},
		{"a pod on its node's network, by its name", "sleep", "node-exporter-v4l7n:9100", "reaches node-exporter-v4l7n, and gets no answer"},
		{"a port that nobody may call", "sleep", "10.4.4.18:15001", "reaches ztunnel-rts54, and ends there. Cluster BlackHoleCluster"},
		{"a port of none of the ztunnel's listeners", "sleep", "10.4.4.18:15088", "is not captured. How it ends the dumps don't tell: it reaches the ztunnel's own pod, port 15088. None"},
		{"where the ztunnel says whether it is ready", "sleep", "10.4.4.18:15021", "arrives at ztunnel-rts54"},
		{"no route", "sleep", "10.8.99.99:80", "none of the tables that the ip rules ask leads to 10.8.99.99."},
	} {
		t.Run(c.name, func(t *testing.T) {
			s, err := meshOf(t, dumptest.Open(t, dumptest.Geneve)).Trace(Query{From: c.from, To: c.to, Answer: true})
			if err != nil {
				t.Fatal(err)
			}
			if !strings.Contains(s.Outcome.Sentence, c.want) {
				t.Errorf("%s\nwant %q", s.Outcome.Sentence, c.want)
			}
		})
	}
}

// A policy judges connections that stand. Where the answer to the first packet is
// lost there is none.
func TestLostAnswerComesBeforePolicy(t *testing.T) {
	nodes := dumptest.Open(t, dumptest.Geneve)
	for _, set := range nodes[0].Host.Sets {
		set.Entries = nil
	}
	s, err := meshOf(t, nodes).Trace(Query{From: "sleep", To: "productpage:9080", Answer: true})
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(s.Outcome.Sentence, "The answer is lost: it does not come back to sleep") {
		t.Error(s.Outcome.Sentence)
	}
	last := s.Legs[len(s.Legs)-1].Stops
	if stop := last[len(last)-1]; stop.Kind != "verdict" || !strings.HasPrefix(stop.Text, "The answer is lost") {
		t.Errorf("the last step is %+v", stop)
	}
}

// A dump without sysctls is one that was collected by hand.
func TestWithoutSysctls(t *testing.T) {
	nodes := dumptest.Open(t, dumptest.Geneve)
	for _, n := range nodes {
		n.Host.Sysctls, n.Host.Missing[dump.KindSysctls] = nil, "not in this dump"
	}
	s, err := meshOf(t, nodes).Trace(Query{From: "sleep", To: "productpage:9080"})
	if err != nil {
		t.Fatal(err)
	}
	if !s.Outcome.Delivered || !slices.ContainsFunc(s.Doubts, func(d string) bool { return strings.Contains(d, "forwarding is taken to be on") }) {
		t.Errorf("%+v\n%s", s.Outcome, strings.Join(s.Doubts, "\n"))
	}
}

func TestGathered(t *testing.T) {
	got := strings.Join(gathered([]string{
		"host: ip-rule: not installed", "host: ip-route: not installed", "host: ipset-save: not permitted",
		"a/b: ip-rule: not entered", "a/b: ip-route: not entered", "a/c: ip-rule: not entered", "a/c: ip-route: not entered",
		"workloads.json: nobody answers",
	}), "\n")
	want := "host: ip-rule, ip-route: not installed\nhost: ipset-save: not permitted\na/b, a/c: ip-rule, ip-route: not entered\nworkloads.json: nobody answers"
	if got != want {
		t.Errorf("%s\nwant\n%s", got, want)
	}
}
