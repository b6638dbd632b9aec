// SPDX-License-Identifier: Apache-2.0

package xds

import (
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/ambient22/ambient22/envoyconfig"
)

// onTheWay is what a source says of a certificate that somebody else is signing.
type onTheWay struct{}

func (onTheWay) Error() string { return "being signed" }
func (onTheWay) Pending() bool { return true }

// TestPendingSecretIsWaitedFor asks for secrets before they are there: nothing is
// said, not even to the log, until the source announces them.
func TestPendingSecretIsWaitedFor(t *testing.T) {
	s, w := start(t, func(s *Server) { s.secretRetry = time.Millisecond }), newWorld(t)
	w.set(s.Server)
	s.source.failWith(fmt.Errorf("asking far away: %w", onTheWay{}))
	s.source.setRoots("")
	d, c := s.deltaSDS(), s.sds()
	d.send(subscribe(secrets, podName, envoyconfig.RootCASecret, foreign))
	wantDelta(d, "secret -"+foreign) // who is a stranger is told at once
	c.send(ask(secrets, podName))

	s.source.setRoots("roots")
	s.source.rotate()
	wantDelta(d, "secret "+envoyconfig.RootCASecret)
	s.source.failWith(nil)
	s.source.rotate()
	wantDelta(d, "secret "+podName)
	wantSotw(c, "secret "+podName, podName)

	// A renewal that takes its time takes nothing away.
	s.source.failWith(onTheWay{})
	s.source.rotate()
	d.send(subscribe(secrets, "spiffe://cluster.local/ns/default/sa/nobody"))
	wantDelta(d, "secret -spiffe://cluster.local/ns/default/sa/nobody") // and so much alone
	s.source.failWith(nil)
	s.source.rotate()
	wantDelta(d, "secret "+podName)
	wantSotw(c, "secret "+podName, podName)
	if line := s.log.line("not available"); line != "" {
		t.Errorf("waiting was complained of: %s", line)
	}
}

// TestPendingHidesNoFailure has one secret on its way and another that failed.
func TestPendingHidesNoFailure(t *testing.T) {
	s, w := start(t, func(s *Server) { s.secretRetry = time.Millisecond }), newWorld(t)
	w.set(s.Server)
	s.source.setRoots("")
	s.source.failWith(errors.New("no entropy"))
	d := s.deltaSDS()
	d.send(subscribe(secrets, podName, envoyconfig.RootCASecret))
	eventually(t, "the failure is logged", func() bool { return s.log.line("secret is not available", podName, "no entropy") != "" })
	if line := s.log.line("not available", envoyconfig.RootCASecret); line != "" {
		t.Errorf("waiting was complained of: %s", line)
	}
	s.source.failWith(nil) // found by trying again, nothing was announced
	wantDelta(d, "secret "+podName)
}
