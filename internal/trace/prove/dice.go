// SPDX-License-Identifier: Apache-2.0

package prove

import "math/rand/v2"

// dice are what a world is made with: from one seed always the same.
type dice struct{ *rand.Rand }

func newDice(seed uint64) dice { return dice{rand.New(rand.NewPCG(seed, 0x616d6269656e74))} }

// chance is true once in n times.
func (d dice) chance(n int) bool { return d.IntN(n) == 0 }

// between is from low to high, both included.
func (d dice) between(low, high int) int { return low + d.IntN(high-low+1) }

// pick is one of the list.
func pick[T any](d dice, list ...T) T { return list[d.IntN(len(list))] }

// weighted is one of the choices, as often as its weight says.
func weighted[T any](d dice, choices []weight[T]) T {
	total := 0
	for _, c := range choices {
		total += c.n
	}
	at := d.IntN(total)
	for _, c := range choices {
		if at -= c.n; at < 0 {
			return c.of
		}
	}
	return choices[0].of
}

type weight[T any] struct {
	n  int
	of T
}
