// SPDX-License-Identifier: Apache-2.0

package proxy

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/ambient22/ambient22/internal/proxy/stats"
)

// stuck is a writer that takes nothing until it is released.
type stuck chan struct{}

func (s stuck) Write(b []byte) (int, error) {
	<-s
	return len(b), nil
}

func TestStuckLogHoldsNothingUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var dropped stats.Value
		w := make(stuck)
		defer close(w)
		l := newLineWriter(w, &stats.Value{}, &dropped)
		ctx, cancel := context.WithCancel(context.Background())
		go l.run(ctx)
		line := make([]byte, 1<<20)
		l.write(line)
		synctest.Wait() // the writer has it and is stuck
		for range 10 {
			l.write(line)
		}
		if n := dropped.Get(); n != 6 {
			t.Errorf("%d lines were dropped, want 6 of 10", n)
		}
		cancel()
		began := time.Now()
		l.wait(time.Second)
		if took := time.Since(began); took != time.Second {
			t.Errorf("waited %v for the last lines", took)
		}
	})
}
