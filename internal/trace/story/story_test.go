// SPDX-License-Identifier: Apache-2.0

package story

import (
	"bytes"
	"encoding/json"
	"errors"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/ambient22/ambient22/internal/dump"
	"github.com/ambient22/ambient22/internal/dump/dumptest"
	"github.com/ambient22/ambient22/internal/golden"
)

func lab(t testing.TB, fixture string) *Mesh {
	t.Helper()
	return meshOf(t, dumptest.Open(t, fixture))
}

func meshOf(t testing.TB, nodes []*dump.Node) *Mesh {
	t.Helper()
	m, err := New(nodes)
	if err != nil {
		t.Fatal(err)
	}
	return m
}

func told(t testing.TB, m *Mesh, q Query) *Story {
	t.Helper()
	s, err := m.Trace(q)
	if err != nil {
		t.Fatal(err)
	}
	checkShape(t, s)
	return s
}

// checkShape holds of every story: stops have numbers of their own, sentences, and
// places; what they point to is there.
func checkShape(t testing.TB, s *Story) {
	t.Helper()
	seen := map[string]bool{}
	for _, leg := range s.Legs {
		if leg.Title == "" || leg.Packet == "" || len(leg.Stops) == 0 {
			t.Errorf("leg %q: title %q, packet %q, %d stops", leg.ID, leg.Title, leg.Packet, len(leg.Stops))
		}
		for _, stop := range leg.Stops {
			switch {
			case seen[stop.ID]:
				t.Errorf("two stops are called %s", stop.ID)
			case !strings.HasPrefix(stop.ID, leg.ID+"."):
				t.Errorf("stop %s is in leg %s", stop.ID, leg.ID)
			case stop.Kind == "" || stop.Place.Space == "":
				t.Errorf("stop %s: kind %q, place %+v", stop.ID, stop.Kind, stop.Place)
			case !strings.HasSuffix(stop.Text, "."):
				t.Errorf("stop %s is no sentence: %q", stop.ID, stop.Text)
			case (stop.File == "") != (stop.LineNo == 0):
				t.Errorf("stop %s: file %q, line %d", stop.ID, stop.File, stop.LineNo)
			}
			seen[stop.ID] = true
		}
	}
	if s.Miss != nil && s.Miss.Stop != "" && !seen[s.Miss.Stop] {
		t.Errorf("why not names stop %s, which is not there", s.Miss.Stop)
	}
	if s.Outcome.Sentence == "" {
		t.Error("the outcome has no sentence")
	}
}

// numbers are those of steps. They count what is not shown, too, which is the
// tracer's affair.
var numbers = regexp.MustCompile(`(?m)^(   [- ]) *\d+  |(at step) [\d.a-z-]+$`)

func sameText(t *testing.T, name string, got []byte) {
	t.Helper()
	got = numbers.ReplaceAll(got, []byte("$1$2   #  "))
	golden.Check(t, filepath.Join("testdata", name), got)
}

func TestTextOfTheArticlesCall(t *testing.T) {
	s := told(t, lab(t, dumptest.Geneve), Query{From: "sleep", To: "productpage:9080", Answer: true, ExplainMiss: true})
	var short bytes.Buffer
	if err := s.Text(&short, false); err != nil {
		t.Fatal(err)
	}
	sameText(t, "article.txt", short.Bytes())
}

func TestTextOfEverything(t *testing.T) {
	s := told(t, lab(t, dumptest.Geneve), Query{From: "sleep", To: "productpage:9080"})
	var all bytes.Buffer
	if err := s.Text(&all, true); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{
		"Not for this packet: ", "-A ztunnel-PREROUTING -p udp -j MARK --set-xmark 0x220/0x220    host/iptables-legacy-save.txt:63",
		"Table local has no route to 10.8.14.226.", "0: from all lookup local    host/ip-rule.txt:1",
	} {
		if !strings.Contains(all.String(), want) {
			t.Errorf("it lacks %q:\n%s", want, &all)
		}
	}
}

func TestTextOfAMiss(t *testing.T) {
	s := told(t, lab(t, dumptest.Geneve), Query{From: "10.4.4.30", To: "10.4.3.20:9080", ExplainMiss: true})
	var text bytes.Buffer
	if err := s.Text(&text, false); err != nil {
		t.Fatal(err)
	}
	sameText(t, "miss.txt", text.Bytes())
}

func TestColourIsOnlyForTerminals(t *testing.T) {
	s := told(t, lab(t, dumptest.Geneve), Query{From: "sleep", To: "productpage:9080"})
	var without, with bytes.Buffer
	if err := s.Print(&without, TextOptions{}); err != nil {
		t.Fatal(err)
	}
	if err := s.Print(&with, TextOptions{Colour: true}); err != nil {
		t.Fatal(err)
	}
	if bytes.Contains(without.Bytes(), []byte("\x1b")) || !bytes.Contains(with.Bytes(), []byte(bold)) {
		t.Error("colours are not where they belong")
	}
	for _, line := range strings.Split(without.String(), "\n") {
		if strings.TrimRight(line, " ") != line {
			t.Errorf("a line ends in blanks: %q", line)
		}
	}
}

// A story is the same each time, and comes through JSON as it was.
func TestStoryAsJSON(t *testing.T) {
	m := lab(t, dumptest.Geneve)
	q := Query{From: "sleep", To: "productpage:9080", Answer: true, ExplainMiss: true}
	first, err := json.Marshal(told(t, m, q))
	if err != nil {
		t.Fatal(err)
	}
	again, err := json.Marshal(told(t, m, q))
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(first, again) {
		t.Error("the same question has two answers")
	}
	var back Story
	if err := json.Unmarshal(first, &back); err != nil {
		t.Fatal(err)
	}
	if third, err := json.Marshal(back); err != nil || !bytes.Equal(first, third) {
		t.Errorf("it changes on its way through JSON (%v)", err)
	}
}

func TestAnswersMayBeLeftOut(t *testing.T) {
	s := told(t, lab(t, dumptest.Geneve), Query{From: "sleep", To: "productpage:9080"})
	if len(s.Legs) != 3 || !s.Outcome.Delivered {
		t.Errorf("%d legs, %+v", len(s.Legs), s.Outcome)
	}
	for _, l := range s.Legs {
		if l.Answer {
			t.Errorf("leg %s is an answer", l.ID)
		}
	}
}

// The way is the same with each tunnel and each variant of iptables.
func TestSameWayInEveryLab(t *testing.T) {
	for _, fixture := range dumptest.Lab() {
		t.Run(fixture, func(t *testing.T) {
			s := told(t, lab(t, fixture), Query{From: "sleep", To: "productpage:9080", Answer: true})
			o := s.Outcome
			if !o.Captured || !o.Tunnelled || !o.Delivered || o.Unknown || len(s.Doubts) > 2 {
				t.Errorf("%+v, doubts %q", o, s.Doubts)
			}
		})
	}
}

func TestNamesThatCannotBe(t *testing.T) {
	m := lab(t, dumptest.Geneve)
	for _, c := range []struct{ from, to, want string }{
		{"reviews", "productpage:9080", "--from reviews: it could be any of 3. Give one by its full name or its address: default/reviews-v1-569db879f5-hdnr5 (10.4.3.17), default/reviews-v2"},
		{"nobody", "productpage:9080", "--from nobody: nothing in the dumps is called so. There are: default/details-v1"},
		{"sleep", "nothing:80", "--to nothing:80: nothing in the dumps is called so. There are: default/details (10.8.9.83)"},
		{"sleep", "10.4.3.20", "--to 10.4.3.20: it names no port: give it as 10.4.3.20:PORT"},
		{"sleep", "productpage:http", `--to productpage:http: "http" is not a port`},
		{"sleep", "productpage:0", `"0" is not a port`},
		{"sleep", "10.4.4.19:80", "--to 10.4.4.19:80: it is the caller's own address (10.4.4.19): such a packet never leaves the pod"},
		{"fe80::1", "productpage:9080", "--from fe80::1: it is not IPv4"},
		{"", "productpage:9080", "--from \"\": it takes a pod, a node or an address"},
		{"sleep", "", `--to "": it takes a service, a pod or an address, and a port`},
		{"host", "productpage:9080", "--from host: there are several nodes; give one by its name: gke-jimmy"},
	} {
		_, err := m.Trace(Query{From: c.from, To: c.to})
		var name *NameError
		if !errors.As(err, &name) || !strings.Contains(err.Error(), c.want) {
			t.Errorf("--from %q --to %q: %v\nwant %s", c.from, c.to, err, c.want)
		}
	}
	if _, err := m.Trace(Query{From: "sleep", To: "productpage:9080", Protocol: "icmp"}); err == nil {
		t.Error("icmp has ports?")
	}
}

// One thing has many names.
func TestNamesOfOneThing(t *testing.T) {
	m := lab(t, dumptest.Geneve)
	for _, from := range []string{"sleep", "default/sleep", "sleep-5644bdc767-2dfg7", "default/sleep-5644bdc767-2dfg7", "sleep-5644bdc767", "10.4.4.19"} {
		for _, to := range []string{"productpage:9080", "productpage", "default/productpage:9080", "productpage.default:9080", "productpage.default.svc:9080", "productpage.default.svc.cluster.local:9080", "10.8.14.226:9080"} {
			s := told(t, m, Query{From: from, To: to})
			if s.From.Name != "default/sleep-5644bdc767-2dfg7" || s.To.Address != "10.8.14.226:9080" || s.To.Name != "default/productpage" {
				t.Errorf("--from %s --to %s: %+v to %+v", from, to, s.From, s.To)
			}
		}
	}
}

// Without the node controller's list the ztunnels' configuration has the names.
func TestNamesFromTheProxy(t *testing.T) {
	nodes := dumptest.Open(t, dumptest.Geneve)
	for _, n := range nodes {
		n.Workloads = nil
	}
	s := told(t, meshOf(t, nodes), Query{From: "sleep", To: "productpage:9080"})
	if !s.Outcome.Tunnelled || s.From.Name != "default/sleep-5644bdc767-2dfg7" {
		t.Errorf("%+v, %+v", s.From, s.Outcome)
	}
	for _, n := range nodes {
		n.Ztunnel.ConfigDump, n.Pods = nil, nil
	}
	m := meshOf(t, nodes)
	if _, err := m.Trace(Query{From: "sleep", To: "productpage:9080"}); err == nil || !strings.Contains(err.Error(), "There are: ") && !strings.Contains(err.Error(), "give an IP address") {
		t.Errorf("without any names: %v", err)
	}
	s = told(t, m, Query{From: "10.4.4.19", To: "10.8.14.226:9080"})
	if !s.Outcome.Captured || !s.Outcome.Unknown || !strings.Contains(s.Outcome.Sentence, "config_dump") {
		t.Errorf("%+v", s.Outcome)
	}
}

// With one node's dump the story goes as far as that node.
func TestOneNodeAlone(t *testing.T) {
	nodes := dumptest.Open(t, dumptest.Geneve)
	s := told(t, meshOf(t, nodes[:1]), Query{From: "sleep", To: "productpage:9080", ExplainMiss: true})
	if !s.Outcome.Captured || s.Outcome.Delivered || !s.Outcome.Unknown || !s.Miss.Captured {
		t.Errorf("%+v, %+v", s.Outcome, s.Miss)
	}
	if len(s.Doubts) != 1 || !strings.Contains(s.Doubts[0], "the story needs that node's dump, too") {
		t.Errorf("doubts %q", s.Doubts)
	}
	_, err := meshOf(t, nodes[1:]).Trace(Query{From: "sleep", To: "productpage:9080"})
	if err == nil || !strings.Contains(err.Error(), "is not among those given") {
		t.Errorf("without the caller's node: %v", err)
	}
}

// Without the pods' own namespaces a story begins and ends at their veths.
func TestWithoutPodsNamespaces(t *testing.T) {
	nodes := dumptest.Open(t, dumptest.Geneve)
	for _, n := range nodes {
		n.Pods = nil
	}
	for _, q := range []Query{
		{From: "sleep", To: "productpage:9080"}, {From: "10.4.4.30", To: "details:9080"}, {From: "sleep", To: "10.4.3.30:8080"},
		{From: "productpage", To: "details:9080"}, {From: nodes[1].Name, To: "10.4.3.20:9080"},
	} {
		q.Answer = true
		if s := told(t, meshOf(t, nodes), q); !s.Outcome.Delivered || len(s.Doubts) > 0 {
			t.Errorf("%s to %s: %+v, doubts %q", q.From, q.To, s.Outcome, s.Doubts)
		}
	}
}

// Without the ztunnel's namespace the story ends at its veth, and says so.
func TestWithoutZtunnel(t *testing.T) {
	nodes := dumptest.Open(t, dumptest.Geneve)
	nodes[0].Ztunnel = nil
	s := told(t, meshOf(t, nodes), Query{From: "sleep", To: "productpage:9080", ExplainMiss: true})
	if !s.Outcome.Captured || !s.Outcome.Unknown || len(s.Doubts) == 0 {
		t.Errorf("%+v, doubts %q", s.Outcome, s.Doubts)
	}
}
