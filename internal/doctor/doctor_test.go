// SPDX-License-Identifier: Apache-2.0

package doctor_test

import (
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/ambient22/ambient22/internal/doctor"
	"github.com/ambient22/ambient22/internal/dump"
	"github.com/ambient22/ambient22/internal/dump/dumptest"
	"github.com/ambient22/ambient22/internal/faults"
	"github.com/ambient22/ambient22/internal/golden"
	"github.com/ambient22/ambient22/noderoute"
)

// now is shortly after the fixtures were made.
func now() time.Time { return time.Date(2026, 11, 21, 12, 0, 0, 0, time.UTC) }

// live is what healthy programs say.
func live() *doctor.Live {
	return &doctor.Live{
		Addr: "127.0.0.1:15014", Metrics: doctor.Metrics{},
		Certs: []doctor.Certificate{
			{Identity: "spiffe://cluster.local", CA: true, From: now().Add(-time.Hour), To: now().AddDate(10, 0, 0)},
			{Identity: "spiffe://cluster.local/ns/default/sa/sleep", From: now().Add(-time.Hour), To: now().Add(23 * time.Hour)},
		},
	}
}

func nodeA(t *testing.T) *dump.Node { return dumptest.Open(t, dumptest.Geneve)[0] }

func examine(t *testing.T, in doctor.Input) *doctor.Report {
	t.Helper()
	in.Now = now()
	r, err := doctor.Examine(in)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func text(t *testing.T, r *doctor.Report, o doctor.TextOptions) string {
	t.Helper()
	var b strings.Builder
	if err := r.Text(&b, o); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

func podOf(t *testing.T, r *doctor.Report, name string) doctor.Pod {
	t.Helper()
	for _, p := range r.Pods {
		if strings.HasPrefix(p.Name, name) {
			return p
		}
	}
	t.Fatalf("no pod %s", name)
	return doctor.Pod{}
}

func check(t *testing.T, r *doctor.Report, name string) doctor.Check {
	t.Helper()
	for _, c := range r.Checks {
		if c.Name == name {
			return c
		}
	}
	t.Fatalf("no check %s", name)
	return doctor.Check{}
}

// TestHealthyNodes: nothing is wrong with the lab's nodes, nor with the cluster's.
func TestHealthyNodes(t *testing.T) {
	for _, fixture := range dumptest.All() {
		for _, n := range dumptest.Open(t, fixture) {
			r := examine(t, doctor.Input{Node: n})
			if r.Faults() > 0 {
				t.Errorf("%s:\n%s", fixture, text(t, r, doctor.TextOptions{All: true}))
			}
		}
	}
	r := examine(t, doctor.Input{Node: nodeA(t), Live: live(), Preflight: &doctor.Preflight{}})
	golden.Check(t, "testdata/healthy.txt", text(t, r, doctor.TextOptions{}))
}

// TestEveryFaultIsSeen puts every fault into the node's texts: the doctor says that
// something is wrong, and of those that a packet meets, which pods it meets.
func TestEveryFaultIsSeen(t *testing.T) {
	archives, err := dump.Load(dumptest.Path(t, dumptest.Geneve))
	if err != nil {
		t.Fatal(err)
	}
	all, err := faults.All(archives[0])
	if err != nil {
		t.Fatal(err)
	}
	met := 0
	for _, f := range all {
		n, err := f.Apply(archives[0]).Parse()
		if err != nil {
			t.Fatalf("%s: %v", f.ID, err)
		}
		n.Ztunnel.ConfigDump = nil // the same each time, and reading it takes longest
		r := examine(t, doctor.Input{Node: n})
		if r.Faults() == 0 {
			t.Errorf("%s: all is well, says the doctor", f.ID)
		}
		for _, p := range r.Pods {
			if p.Wrong() {
				met++
				break
			}
		}
	}
	t.Logf("%d faults, %d of them keep a pod from being captured or cut it off", len(all), met)
}

// edited is node A with lines of its texts changed.
func edited(t *testing.T, kind dump.Kind, edit func(string) string) *dump.Node {
	t.Helper()
	archives, err := dump.Load(dumptest.Path(t, dumptest.Geneve))
	if err != nil {
		t.Fatal(err)
	}
	for i, f := range archives[0].Files {
		if f.Name == dump.FileName(dump.HostSpace, kind) {
			archives[0].Files[i].Text = edit(f.Text)
		}
	}
	n, err := archives[0].Parse()
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// drop takes lines away.
func drop(part string) func(string) string {
	return func(text string) string {
		var out strings.Builder
		for line := range strings.Lines(text) {
			if !strings.Contains(line, part) {
				out.WriteString(line)
			}
		}
		return out.String()
	}
}

// TestFirstReason: what is broken is what the doctor names first.
func TestFirstReason(t *testing.T) {
	tests := []struct {
		name, want string
		kind       dump.Kind
		edit       func(string) string
	}{
		{"set entry", "Its address 10.4.4.19 is not in the set ztunnel-pods-ips.", dump.KindSets, drop("10.4.4.19")},
		{"capturing rule", "The rule that captures is not in chain ztunnel-PREROUTING", dump.KindLegacySave, drop("--match-set ztunnel-pods-ips")},
		{"jump", "No rule of PREROUTING in table mangle jumps to ztunnel-PREROUTING", dump.KindLegacySave, drop("-A PREROUTING -j ztunnel-PREROUTING")},
		{"jump behind another rule", "Before the jump to ztunnel-PREROUTING, a rule of chain PREROUTING decides", dump.KindLegacySave, func(text string) string {
			table, rest, _ := strings.Cut(text, "*mangle\n")
			at := strings.Index(rest, "-A PREROUTING")
			at = strings.LastIndexByte(rest[:at], '\n') + 1
			return table + "*mangle\n" + rest[:at] + "-A PREROUTING -s 10.4.4.0/24 -j ACCEPT\n" + rest[at:]
		}},
		{"ip rule", "the ip rule that leads this mark to table 101 is missing or changed", dump.KindRules, drop("lookup 101")},
		{"shadowed ip rule", "the ip rule of priority 50 comes before 101", dump.KindRules, func(text string) string {
			first, rest, _ := strings.Cut(text, "\n")
			return first + "\n50:\tfrom 10.4.4.19 lookup main\n" + rest
		}},
		{"route out", "table 101 has no route for it", dump.KindRoutes, drop("default via 192.168.127.2")},
		{"route in", "the node takes a route that leads past the ztunnel", dump.KindRoutes, drop("10.4.4.19 via 192.168.126.2")},
		{"sysctl", "the node does not forward packets", dump.KindSysctls, func(text string) string {
			return strings.NewReplacer("ip_forward = 1", "ip_forward = 0", ".forwarding = 1", ".forwarding = 0").Replace(text)
		}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			r := examine(t, doctor.Input{Node: edited(t, test.kind, test.edit)})
			sleep := podOf(t, r, "sleep")
			if sleep.Capture != doctor.Missed || len(sleep.Reasons) == 0 || !strings.Contains(sleep.Reasons[0].Text, test.want) {
				t.Errorf("sleep is %s, not for %q:\n%s", sleep.Capture, test.want, text(t, r, doctor.TextOptions{All: true}))
			}
		})
	}
}

// TestPodsByTheController: what the node controller knows of a pod comes first.
func TestPodsByTheController(t *testing.T) {
	n := nodeA(t)
	for i := range n.Workloads.Pods {
		p := &n.Workloads.Pods[i]
		switch {
		case strings.HasPrefix(p.Name, "sleep"):
			p.Enrolled, p.Captured, p.Reason = true, false, "no ztunnel is ready on node a"
		case strings.HasPrefix(p.Name, "httpbin"):
			p.Enrolled, p.Captured, p.Reason = false, false, "its label ambient-type is none"
		}
	}
	r := examine(t, doctor.Input{Node: n})
	if p := podOf(t, r, "sleep"); p.Capture != doctor.Missed || !strings.Contains(p.Reasons[0].Text, "No ztunnel is ready on node a.") {
		t.Errorf("sleep: %+v", p)
	}
	if p := podOf(t, r, "httpbin"); p.Capture != doctor.Astray || !strings.Contains(p.Reasons[0].Text, "it should not be") {
		t.Errorf("httpbin: %+v", p)
	}
	if p := podOf(t, r, "node-exporter"); p.Capture != doctor.Outside || p.Reasons[0].Text != "It uses its node's network." {
		t.Errorf("node-exporter: %+v", p)
	}
	n.Workloads = nil // the set and the ztunnel's configuration tell, too
	r = examine(t, doctor.Input{Node: n})
	if p := podOf(t, r, "sleep"); p.Capture != doctor.Captured || r.Faults() > 0 {
		t.Errorf("without the controller:\n%s", text(t, r, doctor.TextOptions{}))
	}
}

// TestServed: what the ztunnel was told, and its certificates.
func TestServed(t *testing.T) {
	n := nodeA(t)
	n.Ztunnel.ConfigDump = []byte(strings.ReplaceAll(string(n.Ztunnel.ConfigDump), `"10.4.4.19"`, `"10.4.4.99"`))
	p := podOf(t, examine(t, doctor.Input{Node: n}), "sleep")
	if p.Capture != doctor.Cut || !strings.Contains(p.Reasons[0].Text, "no entry for the source 10.4.4.19") {
		t.Errorf("not told of: %+v", p)
	}

	expired := live()
	expired.Certs[1].To = now().Add(-time.Minute)
	r := examine(t, doctor.Input{Node: nodeA(t), Live: expired})
	if p := podOf(t, r, "sleep"); p.Capture != doctor.Cut || !strings.Contains(p.Reasons[0].Text, "expired 1m0s ago") {
		t.Errorf("expired: %+v", p)
	}
	if c := check(t, r, "certificates"); c.State != doctor.Wrong {
		t.Errorf("expired: %+v", c)
	}

	dead := live()
	dead.Certs, dead.CertsErr = nil, errors.New("connection refused")
	r = examine(t, doctor.Input{Node: nodeA(t), Live: dead})
	if p := podOf(t, r, "sleep"); p.Capture != doctor.Cut || !strings.Contains(p.Reasons[0].Text, "does not answer") {
		t.Errorf("dead ztunnel: %+v", p)
	}

	gone := nodeA(t)
	gone.Ztunnel = nil
	gone.Gaps = []string{"ztunnel: 10.4.4.18: no veth of this node leads to 10.4.4.18"}
	r = examine(t, doctor.Input{Node: gone, Live: live()})
	if c := check(t, r, "ztunnel"); c.State != doctor.Wrong || !strings.Contains(c.Text, "no veth of this node") {
		t.Errorf("no ztunnel: %+v", c)
	}
}

// small is node A with one pod, and a ztunnel that has next to no configuration.
func small(t *testing.T) *dump.Node {
	n := nodeA(t)
	n.Workloads.Pods = []dump.Pod{{Namespace: "default", Name: "sleep", Node: n.Workloads.Node, Enrolled: true, Captured: true}}
	n.Ztunnel.ConfigDump = []byte(`{"configs": [{"@type": "type.googleapis.com/envoy.admin.v3.ListenersConfigDump",
		"dynamic_listeners": [{"name": "ztunnel_outbound"}]}]}`)
	return n
}

// TestNodeChecks are the checks of a node that are not the data path's.
func TestNodeChecks(t *testing.T) {
	tests := []struct {
		name, check string
		spoil       func(in *doctor.Input)
		state       doctor.State
		want        string
	}{
		{"controller gone", "controller", func(in *doctor.Input) { in.Live.Silent = errors.New("connection refused") }, doctor.Wrong, "connection refused"},
		{"controller not ready", "controller", func(in *doctor.Input) { in.Live.Unready = "no route" }, doctor.Wrong, "not ready: no route"},
		{"drift", "controller", func(in *doctor.Input) { in.Live.Metrics[`ambient_node_drift_total{kind="chain"}`] = 3 }, doctor.Note, "3 chain"},
		{"NACK", "configuration", func(in *doctor.Input) {
			in.Live.Metrics[`ambient22_xds_rejected_resources{type="listener"}`] = 1
		}, doctor.Wrong, "counts 1 listener"},
		{"NACK in the configuration", "configuration", func(in *doctor.Input) {
			in.Node.Ztunnel.ConfigDump = []byte(strings.Replace(string(in.Node.Ztunnel.ConfigDump), `"name": "ztunnel_outbound"`,
				`"name": "ztunnel_outbound", "error_state": {"details": "no such filter"}`, 1))
		}, doctor.Wrong, "ztunnel_outbound: no such filter"},
		{"old NACK", "configuration", func(in *doctor.Input) { in.Live.Metrics[`ambient22_xds_nacks_total{type="cluster"}`] = 2 }, doctor.Note, "2 cluster"},
		{"late certificate", "certificates", func(in *doctor.Input) { in.Live.Certs[1].To = now().Add(time.Minute) }, doctor.Note, "expires in 1m0s"},
		{"clock", "certificates", func(in *doctor.Input) { in.Live.Certs[1].From = now().Add(time.Hour) }, doctor.Wrong, "look at the clocks"},
		{"no certificates", "certificates", func(in *doctor.Input) { in.Live.Certs = nil }, doctor.Wrong, "no certificate of any pod"},
		{"obstacle", "preflight", func(in *doctor.Input) {
			in.Preflight.Problems = []noderoute.Problem{{What: "forwarding is off", Where: "sysctl", WayOut: "Switch it on", Blocking: true}}
		}, doctor.Wrong, "forwarding is off (sysctl). Switch it on"},
		{"preflight's note", "preflight", func(in *doctor.Input) { in.Preflight.Problems = []noderoute.Problem{{What: "both variants"}} }, doctor.Note, "both variants"},
		{"preflight fails", "preflight", func(in *doctor.Input) { in.Preflight.Err = errors.New("no right") }, doctor.Unknown, "no right"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			in := doctor.Input{Node: small(t), Live: live(), Preflight: &doctor.Preflight{}}
			test.spoil(&in)
			r := examine(t, in)
			c := check(t, r, test.check)
			if all := c.Text + strings.Join(c.Details, " "); c.State != test.state || !strings.Contains(all, test.want) {
				t.Errorf("%s: %s", c.State, all)
			}
			if wrong := r.Faults() > 0; wrong != (test.state == doctor.Wrong) {
				t.Errorf("%d faults", r.Faults())
			}
		})
	}
}

func TestOnly(t *testing.T) {
	reports := []*doctor.Report{examine(t, doctor.Input{Node: nodeA(t)})}
	for _, name := range []string{"sleep", "default/sleep", "10.4.4.19", "sleep-5644bdc767-2dfg7"} {
		got, err := doctor.Only(reports, name)
		if err != nil || len(got) != 1 || len(got[0].Pods) != 1 || got[0].Pods[0].IP != "10.4.4.19" {
			t.Errorf("%s: %v, %v", name, got, err)
		}
	}
	if _, err := doctor.Only(reports, "productpage"); err == nil || !strings.Contains(err.Error(), "runs on node") {
		t.Errorf("a pod elsewhere: %v", err)
	}
	if _, err := doctor.Only(reports, "nobody"); err == nil || !strings.Contains(err.Error(), "there are: default/httpbin") {
		t.Errorf("no such pod: %v", err)
	}
}

// TestAsk asks a controller that is not ready, one that hangs, and none.
func TestAsk(t *testing.T) {
	hang := make(chan struct{})
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/readyz":
			http.Error(w, "no route to the ztunnel", http.StatusServiceUnavailable)
		case "/metrics":
			_, _ = w.Write([]byte("# HELP x y\nambient_node_drift_total{kind=\"set\"} 2\nambient_node_programmed 0\nbad line\n"))
		}
	}))
	defer s.Close()
	l := doctor.Ask(t.Context(), s.Listener.Addr().String(), time.Minute)
	if l.Silent != nil || l.Unready != "no route to the ztunnel" || l.Metrics[`ambient_node_drift_total{kind="set"}`] != 2 {
		t.Errorf("%+v", l)
	}
	silent := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { <-hang }))
	defer silent.Close()
	defer close(hang)
	if l = doctor.Ask(t.Context(), silent.Listener.Addr().String(), 50*time.Millisecond); l.Silent == nil || l.Silent.Error() != "no answer in time" {
		t.Errorf("hanging: %v", l.Silent)
	}
	s.Close()
	if l = doctor.Ask(t.Context(), s.Listener.Addr().String(), time.Minute); l.Silent == nil || l.Silent.Error() != "connection refused" {
		t.Errorf("closed: %v", l.Silent)
	}
}

func TestReadCerts(t *testing.T) {
	certs, err := doctor.ReadCerts([]byte(`{"certificates":[
		{"ca_cert":[{"subject_alt_names":[{"uri":"spiffe://cluster.local"}],"valid_from":"2026-11-21T10:00:00Z","expiration_time":"2036-11-18T11:00:00Z"}]},
		{"cert_chain":[{"subject_alt_names":[{"dns":"x"},{"uri":"spiffe://cluster.local/ns/a/sa/b"}],"valid_from":"2026-11-21T10:00:00Z","expiration_time":"2026-11-22T10:00:00Z"}]}]}`))
	if err != nil || len(certs) != 2 || !certs[0].CA || certs[1].CA || certs[1].Identity != "spiffe://cluster.local/ns/a/sa/b" || certs[1].To.Sub(certs[1].From) != 24*time.Hour {
		t.Errorf("%+v, %v", certs, err)
	}
	if _, err := doctor.ReadCerts([]byte("<html>")); err == nil {
		t.Error("no error for what is no JSON")
	}
}
