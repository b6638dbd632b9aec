// SPDX-License-Identifier: Apache-2.0

package agent

import (
	"errors"
	"testing"
	"testing/synctest"

	"github.com/ambient22/ambient22/noderoute"
)

// A large mesh takes gigabytes as configuration, which nodes without a ztunnel spare.
func TestMakesNothingForANodeWithoutZtunnel(t *testing.T) {
	r := start(t, nil)
	r.snapshot <- snapshot("", "10.4.4.19")
	r.want("clean up")
	late := snapshot("10.4.4.18", "10.4.4.19")
	late.Workloads[1].Ready = false // it has to be served to become ready
	r.snapshot <- late
	r.want("serve 2 secrets")
	r.snapshot <- snapshot("10.4.4.18", "10.4.4.19")
	r.want("serve 2 secrets", "preflight", "apply 10.4.4.18 with [10.4.4.19]")
	r.snapshot <- snapshot("", "10.4.4.19")
	r.want("forget", "clean up")
	r.snapshot <- snapshot("10.4.4.18", "10.4.4.19")
	r.want("serve 2 secrets", "preflight", "apply 10.4.4.18 with [10.4.4.19]")
}

// The API server may not be there to tell of a ztunnel that starts, or of one that
// has not ended.
func TestServesAProxyThatTheMeshDoesNotTellOf(t *testing.T) {
	r := start(t, nil)
	r.snapshot <- snapshot("", "10.4.4.19")
	r.want("clean up")
	r.connect(true)
	r.want("serve 2 secrets")
	r.snapshot <- snapshot("", "10.4.4.19", "10.4.4.20")
	r.want("serve 3 secrets")
	r.connect(false)
	r.want("forget")
}

// A proxy that comes and goes all the time has nothing done to a node that fails.
func TestAProxyThatIsExpectedChangesNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		fails := false
		r := start(t, func(string) error {
			if fails {
				return errors.New("the kernel refuses")
			}
			return nil
		})
		r.snapshot <- snapshot("10.4.4.18", "10.4.4.19")
		r.want("serve 2 secrets", "preflight", "apply 10.4.4.18 with [10.4.4.19]")
		synctest.Wait()
		fails = true
		r.changed <- noderoute.Rules
		r.want("repair rule with [10.4.4.19]")
		for _, connected := range []bool{true, false, true} {
			r.connect(connected)
			synctest.Wait()
		}
		if len(r.calls) > 0 {
			t.Errorf("called %q", <-r.calls)
		}
		r.stop()
		<-r.done
	})
}
