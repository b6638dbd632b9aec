// SPDX-License-Identifier: Apache-2.0

package envoyconfig

import (
	"slices"

	"google.golang.org/protobuf/proto"

	"github.com/ambient22/ambient22/envoyconfig/internal/wire"
)

// chunk is what all callers see of some goals: chains that lead there, or the
// matcher's ways to these. It is the same for all of them but for the caller's name
// and whether it has a waypoint, so it is built for anyCaller, once of each sort,
// and written for each.
type chunk struct {
	goals  []goal
	forms  [2]*wire.Template // for callers without and with a waypoint; nil where there is none
	blocks []wire.Parts      // by caller
}

// chunkKind makes what a caller sees of some goals.
type chunkKind func(c *caller, goals []goal) (proto.Message, error)

// chunks makes a chunk of each of the lists of goals, and takes what it can from
// the old ones, which are of the same kind.
func (m *maker) chunks(old []*chunk, lists [][]goal, kind chunkKind) ([]*chunk, error) {
	known := make(map[string]*chunk, len(old))
	for _, c := range old {
		known[c.goals[0].text] = c
	}
	all := make([]*chunk, len(lists))
	for i, goals := range lists {
		all[i] = &chunk{goals: goals}
		// The old goals are not kept: they would hold on to the snapshot they are from.
		if was := known[goals[0].text]; was != nil && sameGoals(was.goals, goals) {
			all[i].forms, all[i].blocks = was.forms, was.blocks
		}
	}
	if err := m.fillChunks(all, kind); err != nil {
		return nil, err
	}
	return all, nil
}

// fillChunks replaces each chunk that lacks something by a complete one.
func (m *maker) fillChunks(all []*chunk, kind chunkKind) error {
	callers := m.next.order.callers
	gaps := make([][]int, len(all))
	for i, c := range all {
		blocks, missing := carryOver(m.bound, c.blocks, len(callers))
		if len(missing) == 0 && len(c.blocks) == len(blocks) {
			continue
		}
		filled := &chunk{goals: c.goals, forms: c.forms, blocks: blocks}
		for _, caller := range missing {
			if err := filled.form(&callers[caller], kind); err != nil {
				return err
			}
		}
		all[i], gaps[i] = filled, missing
	}
	return each(len(all), func(w *wire.Writer, i int) error {
		for _, caller := range gaps[i] {
			if err := all[i].write(w, callers, caller); err != nil {
				return err
			}
		}
		return nil
	})
}

// form makes the form for callers like this one, if there is none.
func (k *chunk) form(like *caller, kind chunkKind) error {
	form := &k.forms[sortOf(like)]
	if *form != nil {
		return nil
	}
	c := anyCaller()
	c.waypoint = like.waypoint
	message, err := kind(c, k.goals)
	if err != nil {
		return err
	}
	*form, err = wire.Compile(message)
	return err
}

// write makes one caller's block. Each has memory of its own, because they don't
// end together.
func (k *chunk) write(w *wire.Writer, callers []caller, i int) error {
	form := k.forms[sortOf(&callers[i])]
	if form.Empty() {
		return nil
	}
	form.Write(w, callers[i].identity)
	pieces, err := w.Finish()
	if err != nil {
		return err
	}
	k.blocks[i] = pieces[0]
	return nil
}

// sameChunks reports whether callers see the same, in the same memory.
func sameChunks(a, b []*chunk) bool {
	return slices.EqualFunc(a, b, func(a, b *chunk) bool { return sameList(a.blocks, b.blocks) })
}

func sortOf(c *caller) int {
	if c.waypoint {
		return 1
	}
	return 0
}
