// SPDX-License-Identifier: Apache-2.0

package lab

import (
	"fmt"
	"io"
	"sync"
	"time"
)

// Progress tells a person what the lab is doing, one line for each thing done,
// with the seconds since the start. A nil Progress says nothing.
type Progress struct {
	out   io.Writer
	start time.Time
	mu    sync.Mutex
}

// NewProgress starts the clock, some time ago if the work began elsewhere.
func NewProgress(out io.Writer, ago time.Duration) *Progress {
	return &Progress{out: out, start: time.Now().Add(-ago)}
}

// Step says what was just done.
func (p *Progress) Step(format string, args ...any) {
	if p == nil {
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	fmt.Fprintf(p.out, "%6.1f s  %s\n", time.Since(p.start).Seconds(), fmt.Sprintf(format, args...))
}

func (p *Progress) elapsed() string { return time.Since(p.start).String() }

func (p *Progress) writer() io.Writer { return p.out }
