// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"errors"
	"log/slog"
	"testing"
	"testing/synctest"
	"time"

	"github.com/ambient22/ambient22/internal/cni"
)

// fixed answers every plugin alike.
type fixed struct {
	cni.Controller
	answer cni.Answer
	err    error
}

func (f fixed) Add(context.Context, cni.Pod) (cni.Answer, error) { return f.answer, f.err }

// TestACapturedPodWaitsForTheZtunnel holds it back until the ztunnel has its
// certificate, but not for ever; others are not held back at all.
func TestACapturedPodWaitsForTheZtunnel(t *testing.T) {
	captured, refused := cni.Answer{Captured: true, Secret: "s"}, &cni.Refusal{What: "no"}
	for name, c := range map[string]struct {
		fixed   fixed
		settles time.Duration
		want    time.Duration
	}{
		"soon":    {fixed{answer: captured}, 98 * time.Millisecond, 100 * time.Millisecond},
		"never":   {fixed{answer: captured}, time.Hour, servedPatience},
		"outside": {fixed{answer: cni.Answer{Why: "it opted out"}}, time.Hour, 0},
		"refused": {fixed{err: refused}, time.Hour, 0},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				start := time.Now()
				settled := func(secret string) bool { return secret == "s" && time.Since(start) >= c.settles }
				answer, err := servedFirst{c.fixed, settled, slog.New(slog.DiscardHandler)}.Add(t.Context(), cni.Pod{})
				if took := time.Since(start); took != c.want || answer != c.fixed.answer || !errors.Is(err, c.fixed.err) {
					t.Errorf("%+v, %v after %v", answer, err, took)
				}
			})
		})
	}
}
