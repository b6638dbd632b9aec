// SPDX-License-Identifier: Apache-2.0

package nodediff

import (
	"slices"
	"sort"
)

// exactCells is how many comparisons the exact longest common subsequence may take.
const exactCells = 1 << 22

// common is a longest row of lines that mean the same and stand in the same order
// on both sides, as pairs of indices. For very long chains that are very different
// it is found by the lines that each side has once.
func common(a, b []item) [][2]int {
	var out [][2]int
	start := 0
	for start < len(a) && start < len(b) && a[start].key == b[start].key {
		out = append(out, [2]int{start, start})
		start++
	}
	endA, endB := len(a), len(b)
	for endA > start && endB > start && a[endA-1].key == b[endB-1].key {
		endA--
		endB--
	}
	middle := exact
	if (endA-start)*(endB-start) > exactCells {
		middle = byUnique
	}
	for _, p := range middle(a[start:endA], b[start:endB]) {
		out = append(out, [2]int{p[0] + start, p[1] + start})
	}
	for i := 0; endA+i < len(a); i++ {
		out = append(out, [2]int{endA + i, endB + i})
	}
	return out
}

// exact fills the usual table.
func exact(a, b []item) [][2]int {
	if len(a) == 0 || len(b) == 0 {
		return nil
	}
	width := len(b) + 1
	longest := make([]int32, (len(a)+1)*width)
	for i := len(a) - 1; i >= 0; i-- {
		for j := len(b) - 1; j >= 0; j-- {
			if a[i].key == b[j].key {
				longest[i*width+j] = longest[(i+1)*width+j+1] + 1
			} else {
				longest[i*width+j] = max(longest[(i+1)*width+j], longest[i*width+j+1])
			}
		}
	}
	var out [][2]int
	for i, j := 0, 0; i < len(a) && j < len(b); {
		switch {
		case a[i].key == b[j].key:
			out = append(out, [2]int{i, j})
			i, j = i+1, j+1
		case longest[(i+1)*width+j] >= longest[i*width+j+1]:
			i++
		default:
			j++
		}
	}
	return out
}

// byUnique takes the lines that each side has once, and of them the longest row
// that is in order on both.
func byUnique(a, b []item) [][2]int {
	const several = -1
	once := func(items []item) map[string]int {
		at := make(map[string]int, len(items))
		for i, it := range items {
			if _, is := at[it.key]; is {
				i = several
			}
			at[it.key] = i
		}
		return at
	}
	inA, inB := once(a), once(b)
	var pairs [][2]int
	for i, it := range a {
		if j, is := inB[it.key]; is && j != several && inA[it.key] == i {
			pairs = append(pairs, [2]int{i, j})
		}
	}
	return rising(pairs)
}

// rising is the longest row of pairs whose second numbers rise; the first do.
func rising(pairs [][2]int) [][2]int {
	var ends []int // index of the pair that ends the best row of each length
	before := make([]int, len(pairs))
	for i, p := range pairs {
		n := sort.Search(len(ends), func(k int) bool { return pairs[ends[k]][1] >= p[1] })
		before[i] = -1
		if n > 0 {
			before[i] = ends[n-1]
		}
		if n == len(ends) {
			ends = append(ends, i)
		} else {
			ends[n] = i
		}
	}
	if len(ends) == 0 {
		return nil
	}
	var out [][2]int
	for i := ends[len(ends)-1]; i >= 0; i = before[i] {
		out = append(out, pairs[i])
	}
	slices.Reverse(out)
	return out
}
