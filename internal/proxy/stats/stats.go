// SPDX-License-Identifier: Apache-2.0

// Package stats is the proxy's registry of counters and gauges. Names follow
// Envoy's dotted form, so that what people know to look for is there:
// "cluster.NAME.upstream_cx_total", "listener.ADDRESS.downstream_cx_active".
//
// A Value is looked up once and then costs one atomic add.
package stats

import (
	"sort"
	"sync"
	"sync/atomic"
)

// Value is one counter or gauge. Its methods may be used at the same time from
// anywhere, and a nil Value swallows everything.
type Value struct{ n atomic.Int64 }

// Inc adds one.
func (v *Value) Inc() { v.Add(1) }

// Dec takes one away; only gauges do.
func (v *Value) Dec() { v.Add(-1) }

// Add adds n, which is negative only for gauges.
func (v *Value) Add(n int64) {
	if v != nil {
		v.n.Add(n)
	}
}

// Set makes the value n; only for gauges.
func (v *Value) Set(n int64) {
	if v != nil {
		v.n.Store(n)
	}
}

// Get is the value now.
func (v *Value) Get() int64 {
	if v == nil {
		return 0
	}
	return v.n.Load()
}

// Kind tells counters from gauges.
type Kind int

// The kinds of a value.
const (
	Counter Kind = iota // only grows
	Gauge               // goes up and down
)

// Sample is one value at one moment.
type Sample struct {
	Name  string
	Kind  Kind
	Value int64
}

type entry struct {
	kind  Kind
	value *Value
}

// Registry holds values by name. The zero Registry is ready to use, and a nil
// one hands out values that nobody reads.
type Registry struct {
	mu     sync.RWMutex
	values map[string]entry
}

// Counter is the counter of that name, made on first use.
func (r *Registry) Counter(name string) *Value { return r.get(name, Counter) }

// Gauge is the gauge of that name, made on first use.
func (r *Registry) Gauge(name string) *Value { return r.get(name, Gauge) }

func (r *Registry) get(name string, kind Kind) *Value {
	if r == nil {
		return &Value{}
	}
	r.mu.RLock()
	e, ok := r.values[name]
	r.mu.RUnlock()
	if ok {
		return e.value
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if e, ok := r.values[name]; ok {
		return e.value
	}
	if r.values == nil {
		r.values = make(map[string]entry)
	}
	e = entry{kind: kind, value: &Value{}}
	r.values[name] = e
	return e.value
}

// Remove forgets values: those of something that is gone. Whoever still holds
// one may go on using it.
func (r *Registry) Remove(names ...string) {
	if r == nil {
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, name := range names {
		delete(r.values, name)
	}
}

// Snapshot is every value, sorted by name.
func (r *Registry) Snapshot() []Sample {
	if r == nil {
		return nil
	}
	r.mu.RLock()
	samples := make([]Sample, 0, len(r.values))
	for name, e := range r.values {
		samples = append(samples, Sample{Name: name, Kind: e.kind, Value: e.value.Get()})
	}
	r.mu.RUnlock()
	sort.Slice(samples, func(i, j int) bool { return samples[i].Name < samples[j].Name })
	return samples
}
