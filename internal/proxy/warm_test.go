// SPDX-License-Identifier: Apache-2.0

package proxy

import (
	"context"
	"sync/atomic"
	"testing"
)

// parent counts the contexts that it would have to end.
type parent struct {
	context.Context
	done     chan struct{}
	children atomic.Int64
}

func (p *parent) Done() <-chan struct{} { return p.done }

func (p *parent) AfterFunc(func()) (stop func() bool) {
	p.children.Add(1)
	return func() bool { p.children.Add(-1); return true }
}

// Each update of each cluster and listener goes through warm: nothing may be
// left of one that is over.
func TestNothingIsLeftOfWarming(t *testing.T) {
	ctx := &parent{Context: context.Background(), done: make(chan struct{})}
	m := &manager{ctx: ctx, answered: make(map[string]bool)}
	used := make(chan struct{}, 2)
	ready := make(chan struct{})
	m.mu.Lock()
	m.warm("at once", nil, func() { used <- struct{}{} })
	m.warm("later", []need{{what: "something", ready: ready}}, func() { used <- struct{}{} })
	m.mu.Unlock()
	close(ready)
	<-used
	<-used
	wait(t, "no context is left", func() bool { return ctx.children.Load() == 0 })
}
