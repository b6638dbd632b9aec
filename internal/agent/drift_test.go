// SPDX-License-Identifier: Apache-2.0

package agent

import (
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/ambient22/ambient22/noderoute"
)

// What is told together is looked at together, for what this run put on the node;
// a change of the mesh that still waits for its push has no part in it.
func TestDriftIsRepairedWithWhatWasProgrammed(t *testing.T) {
	paced(t, nil, func(t *testing.T, r *running) {
		r.snapshot <- snapshot("10.4.4.18", "10.4.4.19", "10.4.4.20")
		r.changed <- noderoute.Rules
		r.changed <- noderoute.Routes
		r.wantAfter(gatherDrift, "repair rule,route with [10.4.4.19]")
		r.want("serve 3 secrets", "add [10.4.4.20] remove []")
	})
}

// A node that could not be repaired is compared as a whole, with the next change on
// it or a while later, whichever comes first.
func TestAfterAFailedRepairTheWholeNodeIsCompared(t *testing.T) {
	refuse := func(call string) error {
		if strings.HasPrefix(call, "repair") {
			return errors.New("refused")
		}
		return nil
	}
	for name, again := range map[string]bool{"something changes": true, "nothing changes": false} {
		t.Run(name, func(t *testing.T) {
			paced(t, refuse, func(t *testing.T, r *running) {
				letPass(time.Second)
				r.changed <- noderoute.Links
				r.want("repair link with [10.4.4.19]")
				synctest.Wait()
				if s := r.agent.State(); s.Programmed || s.Err == nil || !s.Served {
					t.Errorf("the state is %+v", s)
				}
				wait := firstRetry
				if again {
					r.changed <- noderoute.Routes
					wait = firstHold
				}
				r.wantAfter(wait, "preflight", "apply 10.4.4.18 with [10.4.4.19]")
				synctest.Wait()
				if s := r.agent.State(); !s.Programmed || s.Err != nil {
					t.Errorf("the state is %+v", s)
				}
			})
		})
	}
}

// Where nothing of ours is on the node, nobody can damage it.
func TestWithoutADataPathThereIsNoDrift(t *testing.T) {
	paced(t, nil, func(t *testing.T, r *running) {
		r.snapshot <- snapshot("")
		r.want("add [] remove [10.4.4.19]", "forget", "clean up")
		r.changed <- noderoute.Everything
		letPass(time.Minute)
		if len(r.calls) > 0 {
			t.Errorf("called %q", <-r.calls)
		}
	})
}

// What is undone again and again is repaired less and less often.
func TestWhenDriftIsLookedAt(t *testing.T) {
	var d drift
	now := time.Now()
	var waits []time.Duration
	for range 10 {
		d.stirred(now, noderoute.Rules)
		at := d.earliest(now)
		waits = append(waits, at.Sub(now))
		now = at
		d.take()
		d.done(now, 0, true)
	}
	want := []time.Duration{2, 10, 20, 40, 80, 160, 320, 640, 1000, 1000}
	for i := range want {
		want[i] *= time.Millisecond
	}
	if diff := cmp.Diff(want, waits); diff != "" {
		t.Errorf("waits (-want +got):\n%s", diff)
	}
}

// Checks that take long and find nothing get rarer, after some that don't.
func TestChecksRest(t *testing.T) {
	var d drift
	now := time.Now()
	var waits []time.Duration
	for range 6 {
		at := d.earliest(now)
		waits = append(waits, at.Sub(now))
		now = at.Add(10 * time.Millisecond)
		d.done(now, 10*time.Millisecond, false)
	}
	for i, want := range []time.Duration{2, 2, 2, 26, 90, 90} {
		if waits[i] != want*time.Millisecond {
			t.Errorf("check %d waits for %v, want %v", i, waits[i], want*time.Millisecond)
		}
	}
	now = now.Add(time.Minute)
	d.done(now, time.Minute, false)
	if wait := d.earliest(now).Sub(now); wait != longestRest-shortRest {
		t.Errorf("after a long one: %v", wait)
	}
}
