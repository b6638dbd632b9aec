// SPDX-License-Identifier: Apache-2.0

package iptsave

import "iter"

// Rules are the rules of all chains of all tables, in their order; none where there
// is no save.
func (s *Save) Rules() iter.Seq[*Rule] {
	return func(yield func(*Rule) bool) {
		if s == nil {
			return
		}
		for _, t := range s.Tables {
			for _, c := range t.Chains {
				for _, r := range c.Rules {
					if !yield(r) {
						return
					}
				}
			}
		}
	}
}
