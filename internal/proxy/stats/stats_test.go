// SPDX-License-Identifier: Apache-2.0

package stats

import (
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestSnapshotIsSorted(t *testing.T) {
	var r Registry
	r.Counter("b").Add(2)
	r.Gauge("a").Inc()
	r.Gauge("a").Dec()
	r.Counter("b").Inc()
	want := []Sample{{"a", Gauge, 0}, {"b", Counter, 3}}
	if diff := cmp.Diff(want, r.Snapshot()); diff != "" {
		t.Error(diff)
	}
}

func TestNilRegistryAndValueSwallow(t *testing.T) {
	var r *Registry
	r.Counter("x").Inc()
	var v *Value
	v.Inc()
	v.Set(3)
	if got := r.Snapshot(); got != nil || v.Get() != 0 {
		t.Errorf("nil registry has %v, nil value %d", got, v.Get())
	}
}

func TestConcurrentFirstUse(t *testing.T) {
	var r Registry
	var wg sync.WaitGroup
	for range 16 {
		wg.Go(func() {
			for range 1000 {
				r.Counter("n").Inc()
			}
		})
	}
	wg.Wait()
	if got := r.Counter("n").Get(); got != 16000 {
		t.Errorf("n = %d, want 16000", got)
	}
}

func TestRemove(t *testing.T) {
	var r Registry
	old := r.Counter("n")
	r.Counter("m").Inc()
	r.Remove("n", "not there")
	old.Inc()
	if got := r.Snapshot(); len(got) != 1 || got[0].Name != "m" || r.Counter("n").Get() != 0 {
		t.Errorf("left %v", got)
	}
}
