// SPDX-License-Identifier: Apache-2.0

package ipset

import (
	"cmp"
	"fmt"
	"net/netip"
	"slices"
)

// TypeHashIP is the only set type this package makes: single addresses.
const TypeHashIP = "hash:ip"

// maxComment is the longest comment the kernel takes, in bytes.
const maxComment = 255

// Entry is one member of a set.
type Entry struct {
	IP      netip.Addr // IPv4
	Comment string     // at most 255 bytes; not compared where the kernel's set keeps no comments
}

// String is the entry as `ipset save` words it.
func (e Entry) String() string {
	if e.Comment == "" {
		return e.IP.String()
	}
	return fmt.Sprintf("%s comment %q", e.IP, e.Comment)
}

// Set is a hash:ip set as it should be.
type Set struct {
	Name    string
	Entries []Entry
}

// Listed is a set as the kernel has it.
type Listed struct {
	Name       string
	Type       string // "hash:ip" for ours
	Family     string // "inet" for ours
	Comments   bool   // whether entries can carry a comment
	References int    // how many iptables rules use it
	Entries    []Entry
}

// Ours tells whether the listed set can hold what this package puts into it.
func (l *Listed) Ours() bool { return l.Type == TypeHashIP && l.Family == "inet" }

// Changes is what has to happen to one set, in this order: create, add,
// delete, destroy.
type Changes struct {
	Name    string
	Create  bool
	Add     []Entry // also entries whose comment changes: adding again replaces it
	Delete  []Entry
	Destroy bool
}

// Empty tells whether there is nothing to do.
func (c Changes) Empty() bool {
	return !c.Create && !c.Destroy && len(c.Add) == 0 && len(c.Delete) == 0
}

// Lines words the changes for people, one line each.
func (c Changes) Lines() []string {
	var lines []string
	if c.Create {
		lines = append(lines, fmt.Sprintf("ipset create %s %s", c.Name, TypeHashIP))
	}
	for _, e := range c.Add {
		lines = append(lines, fmt.Sprintf("ipset add %s %s", c.Name, e))
	}
	for _, e := range c.Delete {
		lines = append(lines, fmt.Sprintf("ipset del %s %s", c.Name, e.IP))
	}
	if c.Destroy {
		lines = append(lines, fmt.Sprintf("ipset destroy %s", c.Name))
	}
	return lines
}

// Diff compares the set that should be there with the one the kernel lists.
// want == nil means the set should not exist, have == nil that it does not.
func Diff(name string, want *Set, have *Listed) Changes {
	c := Changes{Name: name}
	if want == nil {
		c.Destroy = have != nil
		return c
	}
	missing := make(map[netip.Addr]Entry, len(want.Entries))
	for _, e := range want.Entries {
		missing[e.IP] = e
	}
	if have == nil {
		c.Create = true
	} else {
		for _, e := range have.Entries {
			wanted, ok := missing[e.IP]
			switch {
			case !ok:
				c.Delete = append(c.Delete, e)
			case !have.Comments || wanted.Comment == e.Comment:
				delete(missing, e.IP)
			}
		}
	}
	for _, e := range missing {
		c.Add = append(c.Add, e)
	}
	slices.SortFunc(c.Add, byAddr)
	slices.SortFunc(c.Delete, byAddr)
	return c
}

func byAddr(a, b Entry) int {
	if d := a.IP.Compare(b.IP); d != 0 {
		return d
	}
	return cmp.Compare(a.Comment, b.Comment)
}
