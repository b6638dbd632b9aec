// SPDX-License-Identifier: Apache-2.0

package lab

import (
	"fmt"
	"io"
	"time"
)

// Progress tells a person what the lab is doing, one line for each thing done,
// with the seconds since the start. A nil Progress says nothing.
type Progress struct {
	out   io.Writer
	start time.Time
}

// NewProgress starts the clock.
func NewProgress(out io.Writer) *Progress { return &Progress{out: out, start: time.Now()} }

// Step says what was just done.
func (p *Progress) Step(format string, args ...any) {
	if p == nil {
		return
	}
	fmt.Fprintf(p.out, "%6.1f s  %s\n", time.Since(p.start).Seconds(), fmt.Sprintf(format, args...))
}
