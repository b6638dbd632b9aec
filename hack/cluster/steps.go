// SPDX-License-Identifier: Apache-2.0

package main

import (
	"fmt"
	"io"
	"sync"
	"time"
)

// steps tells a person what has been done, and when.
type steps struct {
	out   io.Writer
	start time.Time
	mu    sync.Mutex
}

func newSteps(out io.Writer) *steps { return &steps{out: out, start: time.Now()} }

func (s *steps) say(step string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	fmt.Fprintf(s.out, "%6.1f s  %s\n", time.Since(s.start).Seconds(), step)
}
