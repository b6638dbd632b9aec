// SPDX-License-Identifier: Apache-2.0

package xdsdiff

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"slices"
	"strings"

	"google.golang.org/protobuf/reflect/protoreflect"
)

// agreeOnKinds settles what the resources are that say too little of themselves, by
// what was asked for or by what the other file has.
func agreeOnKinds(a, b *File, asked []string) error {
	for _, kind := range asked {
		if !slices.Contains(Kinds(), kind) {
			return fmt.Errorf("kind %q is none of %s", kind, strings.Join(Kinds(), ", "))
		}
	}
	for _, pair := range [][2]*File{{a, b}, {b, a}} {
		f, other := pair[0], pair[1]
		for i := range f.found {
			r := &f.found[i]
			if r.kind != "" {
				continue
			}
			fit := slices.DeleteFunc(slices.Clone(r.candidates), func(kind string) bool {
				return len(asked) > 0 && !slices.Contains(asked, kind) || len(asked) == 0 && !other.kinds[kind]
			})
			if len(fit) != 1 {
				return fmt.Errorf("reading %s: %w", f.Name, &placed{r.offset, r.line,
					fmt.Errorf("%q may be a %s; say which kind is meant", r.name, strings.Join(r.candidates, ", a "))})
			}
			r.kind = fit[0]
			f.kinds[r.kind] = true
		}
	}
	if len(asked) == 0 && !a.silent && !b.silent && !slices.ContainsFunc(Kinds(), func(k string) bool { return a.kinds[k] && b.kinds[k] }) {
		return fmt.Errorf("comparing %s with %s: %w: %s here, %s there", a.Name, b.Name, ErrNothingInCommon, a.kindNames(), b.kindNames())
	}
	return nil
}

// ErrNothingInCommon is two files without a kind that both have.
var ErrNothingInCommon = errors.New("they have no kind of resource in common")

func (f *File) kindNames() string {
	var names []string
	for _, kind := range Kinds() {
		if f.kinds[kind] {
			names = append(names, kind+"s")
		}
	}
	return strings.Join(names, ", ")
}

// nameByHosts gives assignments without a cluster_name, as old Envoys print them, the
// name of the one in the other file that has the same addresses. Where several have
// them, nobody can tell which is meant, and it is called by its addresses. It
// returns how many were named.
func nameByHosts(a, b *File) int {
	return nameFrom(a, b) + nameFrom(b, a)
}

func nameFrom(f, other *File) int {
	type key struct {
		state string
		hosts [sha256.Size]byte
	}
	names := map[key][]string{}
	for i := range other.found {
		if r := &other.found[i]; r.kind == endpointKind && !r.nameless {
			k := key{r.state, r.hosts}
			names[k] = append(names[k], r.name)
		}
	}
	nameless := map[key][]*resource{}
	for i := range f.found {
		if r := &f.found[i]; r.kind == endpointKind && r.nameless {
			k := key{r.state, r.hosts}
			nameless[k] = append(nameless[k], r)
		}
	}
	named := 0
	for k, rs := range nameless {
		if len(rs) == 1 && len(names[k]) == 1 {
			rs[0].name = names[k][0]
			named++
			continue
		}
		for _, r := range rs {
			r.name = "(no cluster_name: " + r.at + ")"
		}
	}
	return named
}

// resources compares two resources of a type. One may stand in an Any, the other not.
func (c *comparer) resources(name protoreflect.FullName, a, b value) {
	s := ofMessage(messageType(name))
	_, anyA := a.member("@type")
	_, anyB := b.member("@type")
	if anyA && anyB {
		s = schema{form: packed}
	}
	c.compare("", s, a, b)
	if anyA != anyB {
		c.forget("@type")
	}
}

// refusals compares what two proxies say of a resource that they refused, but for
// when it was and which version.
func (c *comparer) refusals(a, b value) {
	c.compare("", ofMessage(messageType(failureState)), a, b)
	c.forget("last_update_attempt", "version_info")
}

// forget drops the differences at these paths.
func (c *comparer) forget(paths ...string) {
	c.found = slices.DeleteFunc(c.found, func(d Difference) bool { return slices.Contains(paths, d.Path) })
}
