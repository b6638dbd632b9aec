// SPDX-License-Identifier: Apache-2.0

package prove

import "fmt"

// random is a world made from a seed, and the scene that packets for it are made
// from.
func random(seed uint64) (World, *scene, error) {
	s := newScene(newDice(seed))
	w := World{
		Name:      fmt.Sprintf("random world %d", seed),
		Variant:   s.variant,
		Links:     s.links,
		Sysctls:   s.sysctls(),
		Routes:    s.routes(),
		Rules:     s.rules(),
		Sets:      s.setLines(),
		Tables:    s.tables4(),
		Listeners: listeners(),
	}
	return w, s, nil
}
