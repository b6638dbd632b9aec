// SPDX-License-Identifier: Apache-2.0

package xdsdiff

import (
	"cmp"
	"slices"
	"strconv"
	"strings"
)

// element is one element of a list that is compared.
type element struct {
	v     value
	key   string // by the identity that is being tried
	label string // in paths: its name by the best identity it has, or its place
	named bool   // the label is a name
	other int    // index of its match on the other side, -1 while it has none
	guess bool   // matched for want of anything better
}

func newElements(list value) []element {
	var all []element
	for i, v := range list.elements() {
		all = append(all, element{v: v, other: -1, label: strconv.Itoa(i)})
	}
	return all
}

func (c *comparer) lists(path string, s schema, a, b value) {
	of := s.elements()
	left, right := newElements(a), newElements(b)
	for _, id := range identities(of) {
		match(of, left, right, id)
	}
	if isChain(of) {
		pairRenamed(of, left, right)
	}
	// What has no name of its own is the same where it says the same; of the rest the
	// first is compared with the first, and so on.
	pairEqual(of, nameless(left), nameless(right), left, right)
	pairInOrder(nameless(left), nameless(right), left, right, true)

	for i := range left {
		if e := &left[i]; e.other < 0 {
			c.report(Remove, path+bracket(e.label), of, &e.v, nil, false)
		} else {
			c.compare(path+bracket(e.label), of, e.v, right[e.other].v)
		}
	}
	for i := range right {
		if e := &right[i]; e.other < 0 {
			c.report(Add, path+bracket(e.label), of, nil, &e.v, false)
		}
	}
	if s.form != list || !unordered(s.field) {
		c.order(path, left, right)
	}
}

// match pairs the elements that have the same name. Where a name stands more than
// once, equal ones are paired first.
func match(of schema, left, right []element, id identity) {
	groups := map[string]*[2][]int{}
	var names []string
	for side, elements := range [][]element{left, right} {
		for i := range elements {
			e := &elements[i]
			if e.other >= 0 {
				continue
			}
			if e.key = id.of(e.v); e.key == "" {
				continue
			}
			if groups[e.key] == nil {
				groups[e.key] = &[2][]int{}
				names = append(names, e.key)
			}
			groups[e.key][side] = append(groups[e.key][side], i)
		}
	}
	for _, name := range names {
		g := groups[name]
		if id.weak && (len(g[0]) == 0 || len(g[1]) == 0) {
			continue
		}
		for side, elements := range [][]element{left, right} {
			for n, i := range g[side] {
				e := &elements[i]
				if e.named {
					continue
				}
				e.label, e.named = name, true
				if len(g[0]) > 1 || len(g[1]) > 1 {
					e.label += "#" + strconv.Itoa(n+1)
				}
			}
		}
		if len(g[0]) > 1 || len(g[1]) > 1 {
			pairEqual(of, g[0], g[1], left, right)
		}
		pairInOrder(lone(left, g[0]), lone(right, g[1]), left, right, false)
	}
}

// mostRenamed is how many fields may change in a chain that goes on under another
// name: the name itself, and what is called after it.
const mostRenamed = 4

// pairRenamed pairs the one chain that only A has with the one that only B has, if
// they take the same connections and differ in a few values only: a renamed chain is
// told by these, not by the beginnings of two long texts.
func pairRenamed(of schema, left, right []element) {
	i, j := onlyLone(left), onlyLone(right)
	if i < 0 || j < 0 {
		return
	}
	var try comparer
	try.compare("", of, left[i].v, right[j].v)
	another := func(d Difference) bool { return d.Op != Change || strings.HasPrefix(d.Path, "filter_chain_match") }
	if len(try.found) <= mostRenamed && !slices.ContainsFunc(try.found, another) {
		left[i].other, right[j].other = j, i
	}
}

// onlyLone is the index of the one element that has a name and no match, or -1.
func onlyLone(elements []element) int {
	found := -1
	for i := range elements {
		if e := &elements[i]; e.other >= 0 {
			continue
		} else if !e.named || found >= 0 {
			return -1
		}
		found = i
	}
	return found
}

// lone are those of the elements that have no match.
func lone(elements []element, among []int) []int {
	return slices.DeleteFunc(slices.Clone(among), func(i int) bool { return elements[i].other >= 0 })
}

// nameless are the elements that have neither a name nor a match.
func nameless(elements []element) []int {
	var all []int
	for i := range elements {
		if e := &elements[i]; e.other < 0 && !e.named {
			all = append(all, i)
		}
	}
	return all
}

// pairEqual pairs elements with the same content.
func pairEqual(of schema, a, b []int, left, right []element) {
	if len(a) == 0 || len(b) == 0 {
		return
	}
	byContent := map[string][]int{}
	for _, j := range b {
		content := string(of.canonical(nil, right[j].v, false))
		byContent[content] = append(byContent[content], j)
	}
	for _, i := range a {
		content := string(of.canonical(nil, left[i].v, false))
		if same := byContent[content]; len(same) > 0 {
			left[i].other, right[same[0]].other = same[0], i
			byContent[content] = same[1:]
		}
	}
}

func pairInOrder(a, b []int, left, right []element, guess bool) {
	for n := range min(len(a), len(b)) {
		left[a[n]].other, right[b[n]].other = b[n], a[n]
		left[a[n]].guess = guess
	}
}

// order reports matched elements that stand in another order.
func (c *comparer) order(path string, left, right []element) {
	before := -1
	inOrder := true
	var old, now []*element
	for i := range left {
		if e := &left[i]; e.other >= 0 && !e.guess {
			inOrder = inOrder && e.other > before
			before = e.other
			old = append(old, e)
		}
	}
	if inOrder {
		return
	}
	now = slices.Clone(old)
	slices.SortFunc(now, func(a, b *element) int { return cmp.Compare(a.other, b.other) })
	c.found = append(c.found, Difference{Op: Reorder, Path: path, Old: names(old), New: names(now)})
}

// names is a JSON list of what elements are called; of a scalar that is itself.
func names(elements []*element) []byte {
	out := []byte{'['}
	for i, e := range elements {
		if i > 0 {
			out = append(out, ',')
		}
		if e.named || isContainer(e.v) {
			out = append(out, quote(e.label)...)
		} else {
			out = append(out, e.v.raw()...)
		}
	}
	return append(out, ']')
}
