// SPDX-License-Identifier: Apache-2.0

package ca

import "time"

// Clock is the time an Authority lives by. Certificates are about wall time, so
// Now must be the wall clock's.
type Clock interface {
	Now() time.Time
	// After returns a channel that receives once d has gone by.
	After(d time.Duration) <-chan time.Time
}

// systemClock is the machine's clock.
type systemClock struct{}

// Now drops the monotonic reading: after a suspend, or a step by NTP, a
// certificate's end must be compared with what the clock on the wall says.
func (systemClock) Now() time.Time { return time.Now().Round(0) }

func (systemClock) After(d time.Duration) <-chan time.Time { return time.After(d) }
