// SPDX-License-Identifier: Apache-2.0

package prove

import (
	"context"
	"slices"
	"strings"

	"github.com/ambient22/ambient22/internal/trace"
)

// replay sends packets that were made before.
type replay struct{ left []Probe }

func (r *replay) next() (Probe, bool) {
	if len(r.left) == 0 {
		return Probe{}, false
	}
	p := r.left[0]
	r.left = r.left[1:]
	return p, true
}

func (r *replay) after(bool, trace.Packet, string) {}

// minimise leaves out packets and lines of the world for as long as engine and
// kernel still differ in the same respect, and returns the last trial. It ends early
// with the context.
func minimise(ctx context.Context, found *Trial) *Trial {
	respect := topic(found)
	best := found
	attempt := func(w World, probes []Probe) bool {
		if ctx.Err() != nil {
			return false
		}
		again, err := run(ctx, w, &replay{probes})
		if err != nil || len(again.Differences) == 0 || topic(again) != respect {
			return false
		}
		best = again
		return true
	}
	if !attempt(found.World, found.Probes) {
		return found // not even the same again: chance had a hand in it
	}
	for size := -1; size != best.size(); {
		size = best.size()
		shrink(best.Probes, func(rest []Probe) bool { return attempt(best.World, rest) })
		for _, list := range parts() {
			shrink(*list(&best.World), func(rest []string) bool {
				w := best.World.clone()
				*list(&w) = rest
				return attempt(w, best.Probes)
			})
		}
		for i := range best.World.Tables {
			shrink(best.World.Tables[i].Rules, func(rest []string) bool {
				w := best.World.clone()
				w.Tables[i].Rules = rest
				return attempt(w, best.Probes)
			})
			shrink(best.World.Tables[i].Chains, func(rest []string) bool {
				w := best.World.clone()
				w.Tables[i].Chains = rest
				return attempt(w, best.Probes)
			})
		}
	}
	return best
}

// topic is what the first difference is about.
func topic(t *Trial) string {
	about := t.Differences[0]
	if strings.HasPrefix(about, "counters:") {
		return about[:len("counters: more in the kernel")]
	}
	return about[:min(len(about), 55)]
}

func (t *Trial) size() int {
	n := len(t.Probes)
	for _, list := range parts() {
		n += len(*list(&t.World))
	}
	for _, table := range t.World.Tables {
		n += len(table.Rules) + len(table.Chains)
	}
	return n
}

// parts are a world's lists of lines.
func parts() []func(*World) *[]string {
	return []func(*World) *[]string{
		func(w *World) *[]string { return &w.Rules },
		func(w *World) *[]string { return &w.Routes },
		func(w *World) *[]string { return &w.Sysctls },
		func(w *World) *[]string { return &w.Sets },
	}
}

// clone is a copy whose lists of tables can be changed.
func (w World) clone() World {
	w.Tables = slices.Clone(w.Tables)
	return w
}

// shrink tries to leave out ever smaller pieces of a list, and keeps to what
// works.
func shrink[T any](list []T, works func([]T) bool) {
	for piece := len(list); piece > 0; piece /= 2 {
		for at := 0; at < len(list); {
			rest := slices.Concat(list[:at], list[min(len(list), at+piece):])
			if works(rest) {
				list = rest
			} else {
				at += piece
			}
		}
	}
}
