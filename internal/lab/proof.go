// SPDX-License-Identifier: Apache-2.0

package lab

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"strings"

	"sigs.k8s.io/yaml"

	"github.com/ambient22/ambient22/internal/lab/app"
	"github.com/ambient22/ambient22/internal/lab/evidence"
	"github.com/ambient22/ambient22/internal/lab/topology"
)

// The article's call.
const (
	callerHost = "sleep"
	serverHost = "productpage"
	callURL    = "http://productpage:9080/"

	tunnelPort = 6081
	hbonePort  = 15008
	podDevice  = "eth0"
)

// Finding is one thing that the packets of a call show, or fail to show.
type Finding struct {
	Title   string   `json:"title"`
	OK      bool     `json:"ok"`
	Text    string   `json:"text"`
	Details []string `json:"details,omitempty"`
}

// Proof is what the article's call left behind.
type Proof struct {
	Call     *app.Call           `json:"call"`
	Findings []Finding           `json:"findings"`
	Counters []evidence.Movement `json:"counters"`
}

func allOK(findings []Finding) bool {
	for _, f := range findings {
		if !f.OK {
			return false
		}
	}
	return true
}

// scene is a lab's hosts in the article's roles.
type scene struct {
	lab            *Lab
	caller, server *topology.Pod
	nodeA, nodeB   *topology.Node
	zA, zB         *topology.Pod
	vip            topology.Service
}

func (l *Lab) scene() (*scene, error) {
	t := l.Net.Topology
	s := &scene{lab: l}
	var ok [6]bool
	s.caller, ok[0] = t.Pod(callerHost)
	s.server, ok[1] = t.Pod(serverHost)
	if ok[0] && ok[1] {
		s.nodeA, ok[2] = t.Node(s.caller.Node)
		s.nodeB, ok[3] = t.Node(s.server.Node)
	}
	if ok[2] && ok[3] {
		s.zA, ok[4] = t.Pod(s.nodeA.Ztunnel)
		s.zB, ok[5] = t.Pod(s.nodeB.Ztunnel)
	}
	if !ok[4] || !ok[5] {
		return nil, errors.New("setting the scene: the topology lacks the caller, the server, or their nodes and ztunnels")
	}
	for _, one := range t.Services {
		if one.Name == serverHost {
			s.vip = one
			return s, nil
		}
	}
	return nil, fmt.Errorf("setting the scene: the topology has no service %s", serverHost)
}

// Prove makes the article's call with captures on five devices and the rules'
// counters read before and after. It must be the first call of a lab: later ones
// share the HBONE connection, whose TLS handshake is part of what is shown.
func (l *Lab) Prove(ctx context.Context) (*Proof, error) {
	s, err := l.scene()
	if err != nil {
		return nil, err
	}
	expected, err := l.expectations()
	if err != nil {
		return nil, err
	}
	taps, err := s.openTaps()
	defer taps.close()
	if err != nil {
		return nil, err
	}
	before, err := s.counters(ctx)
	if err != nil {
		return nil, err
	}
	call, err := l.Call(ctx, callerHost, callURL)
	if err != nil {
		return nil, err
	}
	frames, err := taps.drain()
	if err != nil {
		return nil, err
	}
	after, err := s.counters(ctx)
	if err != nil {
		return nil, err
	}
	p := &Proof{Call: call}
	for _, host := range s.counted() {
		p.Counters = append(p.Counters, evidence.Move(host, before[host], after[host], expected)...)
	}
	p.Findings = s.findings(call, frames, p.Counters)
	return p, nil
}

// Call makes one request from a host and returns what the caller saw.
func (l *Lab) Call(ctx context.Context, host, url string) (*app.Call, error) {
	out, err := l.Net.Output(ctx, host, l.bin("ambientctl"), "inside", "get", "--json", url)
	if err != nil {
		return nil, err
	}
	call := &app.Call{}
	if err := json.Unmarshal([]byte(out), call); err != nil {
		return nil, fmt.Errorf("reading what the call from %s saw: %w", host, err)
	}
	return call, nil
}

func (l *Lab) expectations() ([]evidence.Expectation, error) {
	data, err := fs.ReadFile(l.folder, "counters.yaml")
	if err != nil {
		return nil, fmt.Errorf("reading the expected counters: %w", err)
	}
	var expected []evidence.Expectation
	if err := yaml.UnmarshalStrict(data, &expected); err != nil {
		return nil, fmt.Errorf("reading counters.yaml: %w", err)
	}
	for i := range expected {
		expected[i].Rule = l.rule(expected[i].Rule)
	}
	return expected, nil
}

// rule is a rule of the article's form in the form that the lab has: a hardened
// node sets no mark without a mask.
func (l *Lab) rule(article string) string {
	if !l.hardened() {
		return article
	}
	return strings.Replace(article, "--set-xmark 0x220/0xffffffff", "--set-xmark 0x220/0x220", 1)
}

func (s *scene) counted() []string {
	return []string{s.nodeA.Host, s.zA.Host, s.nodeB.Host, s.zB.Host}
}

func (s *scene) counters(ctx context.Context) (map[string]evidence.Counters, error) {
	all := map[string]evidence.Counters{}
	for _, host := range s.counted() {
		text, err := s.lab.Net.Output(ctx, host, "iptables-save", "-c")
		if err != nil {
			return nil, err
		}
		if all[host], err = evidence.ParseCounters(text); err != nil {
			return nil, fmt.Errorf("%s: %w", host, err)
		}
	}
	return all, nil
}

// tapSet is the captures by place.
type tapSet map[place]*evidence.Tap

// place is where a capture stands.
type place string

const (
	atCaller  place = "the caller's eth0"
	atTunnelA place = "ztunnel A's veth"
	atLink    place = "the link between the nodes"
	atTunnelB place = "ztunnel B's veth"
	atServer  place = "the server's eth0"
)

func (s *scene) openTaps() (tapSet, error) {
	taps := tapSet{}
	for at, where := range map[place][2]string{
		atCaller:  {s.caller.Host, podDevice},
		atTunnelA: {s.nodeA.Host, s.zA.Veth},
		atLink:    {s.nodeA.Host, podDevice},
		atTunnelB: {s.nodeB.Host, s.zB.Veth},
		atServer:  {s.server.Host, podDevice},
	} {
		tap, err := evidence.OpenTap(s.lab.Net.Namespace(where[0]), where[1])
		if err != nil {
			return taps, err
		}
		taps[at] = tap
	}
	return taps, nil
}

func (t tapSet) close() {
	for _, tap := range t {
		// Nothing can be done about a socket that does not close.
		_ = tap.Close()
	}
}

func (t tapSet) drain() (map[place][][]byte, error) {
	frames := map[place][][]byte{}
	for at, tap := range t {
		var err error
		if frames[at], err = tap.Drain(); err != nil {
			return nil, err
		}
	}
	return frames, nil
}
