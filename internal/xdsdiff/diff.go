// SPDX-License-Identifier: Apache-2.0

package xdsdiff

import (
	"cmp"
	"fmt"
	"slices"
)

// Options are the choices of a comparison.
type Options struct {
	// Kinds are those to compare, all that both files speak of where it is empty.
	Kinds []string
	// ShowAdded also reports what a config_dump adds to endpoints, where it is compared
	// with something that is none.
	ShowAdded bool
}

// Resource is a resource that is not the same in both files.
type Resource struct {
	Type, Name string
	Op         Op // Remove: only A has it; Add: only B has it; Change
	// Differences are those of a Change, sorted by path.
	Differences []Difference
}

// Summary counts what a comparison has seen.
type Summary struct {
	Equal, Changed, OnlyA, OnlyB int
	Differences                  int // in the changed ones
	// NotCompared are the types of which only one file can know.
	NotCompared []NotCompared
	// Unnamed counts assignments without cluster_name that were matched by addresses.
	Unnamed int
}

// Same reports whether there was no difference.
func (s *Summary) Same() bool { return s.Changed+s.OnlyA+s.OnlyB == 0 }

// NotCompared is a type of which a file has resources and the other can have none.
type NotCompared struct {
	Type  string
	In    string // the file's name
	Count int
}

// Compare compares two files and shows each resource that is not the same, in the
// order of types and names.
func Compare(a, b *File, o Options, show func(Resource) error) (*Summary, error) {
	if err := agreeOnKinds(a, b, o.Kinds); err != nil {
		return nil, err
	}
	d := &differ{a: a, b: b, options: o, show: show}
	d.summary.Unnamed = nameByHosts(a, b)
	if err := merge(d.list(a, b), d.list(b, a), compareResources, d.lone, d.pair); err != nil {
		return nil, err
	}
	return &d.summary, nil
}

// differ is one comparison, with the memory that all its pairs use in turn.
type differ struct {
	a, b         *File
	options      Options
	show         func(Resource) error
	summary      Summary
	bufA, bufB   []byte
	textA, textB text
}

// lone shows a resource that only one of the files has.
func (d *differ) lone(op Op, r *resource) error {
	if op == Remove {
		d.summary.OnlyA++
	} else {
		d.summary.OnlyB++
	}
	return d.show(Resource{Type: r.Type(), Name: r.label(), Op: op})
}

// pair compares a resource that both files have.
func (d *differ) pair(ra, rb *resource) error {
	if ra.size == rb.size && ra.digest == rb.digest {
		d.summary.Equal++
		return nil
	}
	var va, vb value
	var err error
	if va, d.bufA, err = d.a.load(ra, d.bufA, &d.textA); err != nil {
		return err
	}
	if vb, d.bufB, err = d.b.load(rb, d.bufB, &d.textB); err != nil {
		return err
	}
	ignore := !d.options.ShowAdded && ra.kind == endpointKind
	c := comparer{addedInA: ignore && d.a.dump, addedInB: ignore && d.b.dump}
	switch {
	case ra.state == rejected:
		c.refusals(va, vb)
	default:
		c.resources(messages()[ra.kind], va, vb)
	}
	if ra.nameless != rb.nameless {
		c.forget("cluster_name")
	}
	if len(c.found) == 0 {
		d.summary.Equal++
		return nil
	}
	d.summary.Changed++
	d.summary.Differences += len(c.found)
	return d.show(Resource{Type: ra.Type(), Name: ra.label(), Op: Change, Differences: sorted(c.found)})
}

func compareResources(a, b *resource) int {
	return cmp.Or(cmp.Compare(a.Type(), b.Type()), cmp.Compare(a.name, b.name), cmp.Compare(a.again, b.again))
}

// label is the name that people see.
func (r *resource) label() string {
	if r.again > 0 {
		return fmt.Sprintf("%s (number %d of that name)", r.name, r.again+1)
	}
	return r.name
}

// list is the resources of a file to compare with the other's, in order.
func (d *differ) list(f, other *File) []*resource {
	var all []*resource
	left := map[string]int{}
	for i := range f.found {
		r := &f.found[i]
		if len(d.options.Kinds) > 0 {
			if slices.Contains(d.options.Kinds, r.kind) {
				all = append(all, r)
			}
			continue
		}
		if other.knows(r) {
			all = append(all, r)
		} else {
			left[r.Type()]++
		}
	}
	for t, n := range left {
		d.summary.NotCompared = append(d.summary.NotCompared, NotCompared{t, f.Name, n})
	}
	slices.SortFunc(d.summary.NotCompared, func(a, b NotCompared) int {
		return cmp.Or(cmp.Compare(a.Type, b.Type), cmp.Compare(a.In, b.In))
	})
	slices.SortStableFunc(all, compareResources)
	for i := 1; i < len(all); i++ {
		if compareResources(all[i-1], all[i]) == 0 || (all[i].Type() == all[i-1].Type() && all[i].name == all[i-1].name) {
			all[i].again = all[i-1].again + 1
		}
	}
	return all
}

// knows reports whether the file could have that resource: a render has nothing
// that is only known of a running proxy, and a file of listeners has no clusters.
func (f *File) knows(r *resource) bool {
	return f.silent || (f.kinds[r.kind] && (r.state == inUse || f.dump))
}
