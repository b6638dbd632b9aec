// SPDX-License-Identifier: Apache-2.0

package agent

import (
	"errors"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
)

// Looking at a node with thousands of services takes seconds of its time.
func TestANodeThatFailsIsNotTriedAtEveryChange(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var fails atomic.Bool
		r := start(t, func(call string) error {
			word, _, _ := strings.Cut(call, " ")
			if fails.Load() && slices.Contains([]string{"add", "apply", "clean"}, word) {
				return errors.New("the kernel refuses")
			}
			return nil
		})
		quiet := func() {
			t.Helper()
			synctest.Wait()
			for len(r.calls) > 0 {
				if call := <-r.calls; !strings.HasPrefix(call, "serve") {
					t.Errorf("called %q", call)
				}
			}
		}
		r.snapshot <- snapshot("10.4.4.18", "10.4.4.19")
		r.want("serve 2 secrets", "preflight", "apply 10.4.4.18 with [10.4.4.19]")
		synctest.Wait()
		fails.Store(true)
		r.snapshot <- snapshot("10.4.4.18", "10.4.4.19", "10.4.4.20")
		r.want("serve 3 secrets", "add [10.4.4.20] remove []")
		for range 5 {
			r.snapshot <- snapshot("10.4.4.18", "10.4.4.19", "10.4.4.20", "10.4.4.21")
			quiet()
		}
		// The time until the next attempt passes all the same, ...
		letPass(firstRetry)
		r.want("preflight", "apply 10.4.4.18 with [10.4.4.19 10.4.4.20 10.4.4.21]")
		// ... and another ztunnel need not wait for it.
		r.snapshot <- snapshot("10.4.4.28", "10.4.4.19")
		r.want("serve 2 secrets", "preflight", "apply 10.4.4.28 with [10.4.4.19]")
		quiet()

		r.snapshot <- snapshot("", "10.4.4.19")
		r.want("forget", "clean up")
		r.snapshot <- snapshot("", "10.4.4.20")
		quiet()
		fails.Store(false)
		r.want("clean up")
		r.stop()
		<-r.done
	})
}
