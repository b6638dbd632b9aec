// SPDX-License-Identifier: Apache-2.0

package agent

import (
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"

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
		r.want("add [] remove [10.4.4.19]", "serve 0 secrets", "clean up")
		r.changed <- noderoute.Everything
		letPass(time.Minute)
		if len(r.calls) > 0 {
			t.Errorf("called %q", <-r.calls)
		}
	})
}
