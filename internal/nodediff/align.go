// SPDX-License-Identifier: Apache-2.0

package nodediff

import (
	"cmp"
	"slices"
	"strings"
)

// item is one line with what it means.
type item struct {
	line   string
	fields []attr
	key    string // of all fields: two items with one key mean the same
	at     int    // place in its chain, from 1
	file   string
	lineNo int
	why    string
	owner  string // of foreign ones
	// spare tells that nothing is amiss where it is not there.
	spare bool
}

// attr is one value of a line under the name that a person would look for.
type attr struct{ name, value string }

func newItem(line string, fields []attr) item {
	var key strings.Builder
	for _, f := range inOrder(fields) {
		key.WriteString(f.name)
		key.WriteByte(0)
		key.WriteString(f.value)
		key.WriteByte(1)
	}
	return item{line: line, fields: fields, key: key.String()}
}

// inOrder are the fields by name: in which order a line has them means nothing. What
// is known as words only may count, and stays where it is.
func inOrder(fields []attr) []attr {
	if slices.ContainsFunc(fields, func(f attr) bool { return f.name == "condition" }) {
		return fields
	}
	byName := func(a, b attr) int { return strings.Compare(a.name, b.name) }
	if slices.IsSortedFunc(fields, byName) {
		return fields
	}
	fields = slices.Clone(fields)
	slices.SortStableFunc(fields, byName)
	return fields
}

// pair is a line of each side; an index is -1 where a side has none.
type pair struct {
	kind       Kind
	want, have int
}

// align finds out which lines of two sides belong together: first those that mean
// the same in the same order, then those that mean the same elsewhere, then those
// that are alike.
func align(want, have []item, ordered bool) []pair {
	var pairs []pair
	usedWant, usedHave := make([]bool, len(want)), make([]bool, len(have))
	take := func(k Kind, w, h int) {
		pairs = append(pairs, pair{k, w, h})
		if w >= 0 {
			usedWant[w] = true
		}
		if h >= 0 {
			usedHave[h] = true
		}
	}
	if ordered {
		for _, c := range common(want, have) {
			take(Equal, c[0], c[1])
		}
	}
	elsewhere := Equal
	if ordered {
		elsewhere = Moved
	}
	free := map[string][]int{}
	for h := range have {
		if !usedHave[h] {
			free[have[h].key] = append(free[have[h].key], h)
		}
	}
	for w := range want {
		if rest := free[want[w].key]; !usedWant[w] && len(rest) > 0 {
			take(elsewhere, w, rest[0])
			free[want[w].key] = rest[1:]
		}
	}
	for _, c := range alike(want, have, usedWant, usedHave, pairs, ordered) {
		take(Changed, c[0], c[1])
	}
	for w := range want {
		if !usedWant[w] {
			take(Missing, w, -1)
		}
	}
	for h := range have {
		if !usedHave[h] {
			take(Extra, -1, h)
		}
	}
	sortPairs(pairs, len(have))
	return pairs
}

// sortPairs puts them in the order of what is wanted; what is extra stands behind
// what it follows.
func sortPairs(pairs []pair, haves int) {
	behind := make([]int, haves) // what is wanted in the place of a line, or of the last before it
	for i := range behind {
		behind[i] = -1
	}
	for _, p := range pairs {
		if p.want >= 0 && p.have >= 0 && p.kind != Moved {
			behind[p.have] = p.want
		}
	}
	for i := 1; i < haves; i++ {
		if behind[i] < 0 {
			behind[i] = behind[i-1]
		}
	}
	place := func(p pair) (int, int) {
		if p.want >= 0 {
			return p.want, -1
		}
		return behind[p.have], p.have
	}
	slices.SortStableFunc(pairs, func(a, b pair) int {
		aw, ah := place(a)
		bw, bh := place(b)
		return cmp.Or(cmp.Compare(aw, bw), cmp.Compare(ah, bh))
	})
}

// candidate is a line of each side and how alike they are.
type candidate struct {
	want, have, score int
	near              bool // between the same neighbours
}

// alikeAtLeast is how alike, in percent, two lines must be to be one line that was
// changed; nearby ones need less.
const (
	alikeAtLeast = 60
	alikeNearby  = 40
	// tooMany is where comparing every line with every other is given up: that many
	// lines were not changed one by one.
	tooMany = 400
)

func alike(want, have []item, usedWant, usedHave []bool, anchors []pair, ordered bool) [][2]int {
	gapWant, gapHave := gaps(len(want), len(have), anchors)
	var ws, hs []int
	for w := range want {
		if !usedWant[w] {
			ws = append(ws, w)
		}
	}
	for h := range have {
		if !usedHave[h] {
			hs = append(hs, h)
		}
	}
	if len(ws) > tooMany || len(hs) > tooMany {
		return nil
	}
	var all []candidate
	for _, w := range ws {
		for _, h := range hs {
			c := candidate{w, h, likeness(want[w], have[h]), gapWant[w] == gapHave[h]}
			if !ordered && sameName(want[w], have[h]) {
				c.score += 100
			}
			if c.score >= alikeAtLeast || c.near && c.score >= alikeNearby {
				all = append(all, c)
			}
		}
	}
	slices.SortStableFunc(all, func(a, b candidate) int {
		return cmp.Or(-cmp.Compare(a.rank(), b.rank()), cmp.Compare(a.want, b.want), cmp.Compare(a.have, b.have))
	})
	var out [][2]int
	takenWant, takenHave := map[int]bool{}, map[int]bool{}
	for _, c := range all {
		if !takenWant[c.want] && !takenHave[c.have] {
			takenWant[c.want], takenHave[c.have] = true, true
			out = append(out, [2]int{c.want, c.have})
		}
	}
	return out
}

func (c candidate) rank() int {
	if c.near {
		return c.score + 100
	}
	return c.score
}

// gaps numbers the stretches between lines that are the same on both sides.
func gaps(wants, haves int, anchors []pair) (want, have []int) {
	want, have = make([]int, wants), make([]int, haves)
	for _, p := range anchors {
		if p.kind == Equal {
			want[p.want], have[p.have] = 1, 1
		}
	}
	number := func(marks []int) {
		n := 0
		for i, m := range marks {
			n += m
			marks[i] = n
		}
	}
	number(want)
	number(have)
	return want, have
}

// sameName tells whether the first field, by which such lines are told apart, is the
// same: a device's name, an entry, a route's destination.
func sameName(a, b item) bool {
	return len(a.fields) > 0 && len(b.fields) > 0 && a.fields[0] == b.fields[0]
}

// likeness says how much of two lines is the same, in percent.
func likeness(a, b item) int {
	same := 0
	for _, f := range a.fields {
		if slices.Contains(b.fields, f) {
			same++
		}
	}
	all := max(len(a.fields), len(b.fields))
	if all == 0 {
		return 100
	}
	return 100 * same / all
}

// differing are the fields in which two lines are not the same, in the order of
// what is wanted.
func differing(want, have item) []Field {
	var out []Field
	rest := slices.Clone(have.fields)
	for _, f := range want.fields {
		i := slices.IndexFunc(rest, func(o attr) bool { return o.name == f.name })
		if i < 0 {
			out = append(out, Field{Name: f.name, Want: f.value})
			continue
		}
		if rest[i].value != f.value {
			out = append(out, Field{f.name, f.value, rest[i].value})
		}
		rest = slices.Delete(rest, i, i+1)
	}
	for _, f := range rest {
		out = append(out, Field{Name: f.name, Have: f.value})
	}
	return out
}
