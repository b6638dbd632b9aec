// SPDX-License-Identifier: Apache-2.0

package faults_test

import (
	"context"
	"fmt"
	"net/netip"
	"os"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/ambient22/ambient22/internal/dump"
	"github.com/ambient22/ambient22/internal/faults"
	"github.com/ambient22/ambient22/internal/lab/app"
	"github.com/ambient22/ambient22/internal/nodediff"
)

// dialled is the caller's address in the error of a connection that stood.
var dialled = regexp.MustCompile(`tcp ([0-9.]+):[0-9]+->`)

// from is the address that the caller's kernel chose; it may be another one than on a
// healthy node. The zero Addr where nothing tells.
func (s seen) from() netip.Addr {
	if s.err == nil {
		a, _ := netip.ParseAddrPort(s.call.Local)
		return a.Addr()
	}
	if m := dialled.FindStringSubmatch(s.err.Error()); m != nil {
		a, _ := netip.ParseAddr(m[1])
		return a
	}
	return netip.Addr{}
}

// judgeFrom follows a probe from the address that its caller really had.
func (l *theLab) judgeFrom(nodes []*dump.Node, p faults.Probe, from netip.Addr) faults.Consequence {
	l.t.Helper()
	p.Query.FromIP = from
	judged, err := faults.Judge(nodes, []faults.Probe{p})
	if err != nil {
		l.t.Fatalf("%s from %s: %v", p.Name, from, err)
	}
	return judged[0]
}

// A call that arrives takes milliseconds, on a busy machine more: one that is expected
// and does not come gets another chance with more time.
const (
	patience     = 2 * time.Second
	morePatience = 15 * time.Second
)

// repeated is after how long a caller sends a SYN again (RFC 6298 section 2.1), with
// room for the clock's.
const repeated = 950 * time.Millisecond

// seen is what a call saw; err where nobody answered.
type seen struct {
	call *app.Call
	err  error
}

// call makes all the probes that can be made, at once.
func (l *theLab) call(probes []faults.Probe, patience time.Duration) []seen {
	out := make([]seen, len(probes))
	var all sync.WaitGroup
	for i, p := range probes {
		if p.URL == "" {
			continue
		}
		all.Go(func() {
			ctx, cancel := context.WithTimeout(l.t.Context(), patience)
			defer cancel()
			out[i].call, out[i].err = l.Call(ctx, p.From, p.URL)
		})
	}
	all.Wait()
	return out
}

// log is what ztunnel A has written.
func (l *theLab) log() string {
	l.t.Helper()
	data, err := os.ReadFile(l.Net.LogFile(ztunnelA, "ztunnel"))
	if err != nil {
		l.t.Fatal(err)
	}
	return string(data)
}

// captured tells whether ztunnel A's log has a call as one that it captured. A line is
// written when the connection has ended, which may be a moment after the answer: one
// that is expected is waited for.
func (l *theLab) captured(call *app.Call, expected bool) bool {
	l.t.Helper()
	for deadline := time.Now().Add(2 * time.Second); ; {
		for line := range strings.SplitSeq(l.log()[l.logged:], "\n") {
			if strings.Contains(line, " "+call.Local+" ") && strings.Contains(line, "outbound") {
				return true
			}
		}
		if !expected || time.Now().After(deadline) {
			return false
		}
		if err := pause(l.t.Context(), 10*time.Millisecond); err != nil {
			l.t.Fatal(err)
		}
	}
}

// disagree says where a call did not do what the trace predicted; "" where it did.
func (l *theLab) disagree(c faults.Consequence, s seen) string {
	answered := s.err == nil && s.call.Status == 200
	if answered && c.Outcome.Again && s.call.Took >= repeated {
		// The first packet was lost, as the trace says; the second was not.
		return ""
	}
	switch {
	case c.Outcome.Unknown:
		return ""
	case answered != c.Outcome.Delivered:
		return fmt.Sprintf("answered: %v (%v), predicted: %s", answered, s.err, c.Outcome.Sentence)
	case !answered:
		return ""
	}
	peer, err := netip.ParseAddrPort(s.call.Peer)
	if err != nil {
		return fmt.Sprintf("the server saw %q", s.call.Peer)
	}
	if want := "sees it come from " + peer.Addr().String(); !strings.Contains(c.Outcome.Sentence, want+",") && !strings.Contains(c.Outcome.Sentence, want+".") {
		return fmt.Sprintf("the server saw %s, predicted: %s", peer.Addr(), c.Outcome.Sentence)
	}
	callerOnA := c.Probe.From != "details" && c.Probe.From != "outside-b"
	if callerOnA && l.captured(s.call, c.Outcome.Captured) != c.Outcome.Captured {
		return fmt.Sprintf("captured: %v, predicted: %s", !c.Outcome.Captured, c.Outcome.Sentence)
	}
	return ""
}

// sample is every how many-th fault is put into the kernel where not all are.
const sample = 37

// TestFaultsInTheKernel puts faults into a running lab: a dump that is taken then is
// told by diff, and the calls do what the trace of that dump says. AMBIENT22_FAULTS=all
// takes all faults; anything else is an expression that the names of those to take match.
func TestFaultsInTheKernel(t *testing.T) {
	l := upLab(t)
	all, err := faults.All(l.archives[0])
	if err != nil {
		t.Fatal(err)
	}
	which := os.Getenv("AMBIENT22_FAULTS")
	names, err := regexp.Compile(which)
	if err != nil {
		t.Fatalf("reading AMBIENT22_FAULTS: %v", err)
	}
	l.orphan()
	l.try(faults.Fault{ID: "healthy"})
	tried := 0
	for i, f := range all {
		switch {
		case which == "" && i%sample != 0, which != "" && which != "all" && !names.MatchString(f.ID):
			continue
		}
		tried++
		started := time.Now()
		if l.inject(f) {
			l.try(f)
		}
		l.heal(f)
		t.Logf("%s: %v", f.ID, time.Since(started).Round(100*time.Millisecond))
	}
	t.Logf("%d of %d faults put into the kernel", tried, len(all))
}

// try takes a dump and makes the calls.
func (l *theLab) try(f faults.Fault) {
	l.t.Helper()
	l.forget()
	nodes := l.nodes()
	r, err := nodediff.Plan(nodes[0], nodediff.Options{})
	switch {
	case err != nil:
		l.t.Errorf("%s: %v", f.ID, err)
	case f.Kind != "" && !slices.ContainsFunc(r.Findings, f.NamedBy):
		l.t.Errorf("%s: diff does not name it:\n%s", f.ID, differences(r))
	}
	predicted, err := faults.Judge(nodes, faults.Probes())
	if err != nil {
		l.t.Errorf("%s: %v", f.ID, err)
		return
	}
	wrong := l.compare(nodes, predicted, patience)
	if len(wrong) > 0 {
		l.forget()
		wrong = l.compare(nodes, predicted, morePatience)
	}
	for _, w := range wrong {
		l.t.Errorf("%s: %s", f.ID, w)
	}
}

// compare makes the calls and says where they did not do what was predicted.
func (l *theLab) compare(nodes []*dump.Node, predicted []faults.Consequence, patience time.Duration) []string {
	l.t.Helper()
	probes := faults.Probes()
	l.logged = len(l.log())
	var wrong []string
	for i, s := range l.call(probes, patience) {
		if probes[i].URL == "" {
			continue
		}
		predicted := predicted[i]
		if from := s.from(); from.IsValid() && from.String() != probes[i].Query.From {
			predicted = l.judgeFrom(nodes, probes[i], from)
		}
		if w := l.disagree(predicted, s); w != "" {
			wrong = append(wrong, probes[i].Name+": "+w)
		}
	}
	return wrong
}
