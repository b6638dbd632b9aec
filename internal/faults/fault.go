// SPDX-License-Identifier: Apache-2.0

// Package faults knows what can be wrong with a node of the data path: one fault
// for each rule, jump, ip rule, route, setting, set entry and device. Each can be
// put into a dump's texts and, by a script, into a running node's kernel, so that
// what diff and trace say of it can be held against what happens.
package faults

import (
	"fmt"
	"strings"

	"github.com/ambient22/ambient22/internal/dump"
	"github.com/ambient22/ambient22/internal/nodediff"
)

// Fault is one thing that is wrong.
type Fault struct {
	// ID is unique among the faults of a node: "host/mangle/ztunnel-PREROUTING/16/deleted".
	ID    string
	Space string // "host", "ztunnel"
	// Place is where it is, as diff calls it: "mangle/ztunnel-PREROUTING", "table 100".
	Place   string
	Section nodediff.Section
	// Line is what was there; What is what became of it.
	Line string
	What string
	// Kind and Field are how diff has to name it.
	Kind  nodediff.Kind
	Field string
	// At is the place in its chain, from 1; 0 where order does not count.
	At int

	edits  map[dump.Kind]func(string) string
	script string
}

// Apply puts the fault into a copy of the node's texts.
func (f Fault) Apply(a *dump.Archive) *dump.Archive {
	out := &dump.Archive{Header: a.Header, Files: append([]dump.File(nil), a.Files...)}
	for i := range out.Files {
		for kind, edit := range f.edits {
			if out.Files[i].Name == dump.FileName(f.Space, kind) {
				out.Files[i].Text = edit(out.Files[i].Text)
			}
		}
	}
	return out
}

// Script puts the fault into the kernel, run by sh in the network namespace. IPT
// stands for iptables in the variant that the node uses.
func (f Fault) Script() string { return f.script }

// All are the faults of one node, in the order of its texts.
func All(a *dump.Archive) ([]Fault, error) {
	var out []Fault
	for _, space := range []string{dump.HostSpace, dump.ZtunnelSpace} {
		for _, make := range []func(*dump.Archive, string) ([]Fault, error){chains, ipRules, routes, sysctls, entries, devices} {
			found, err := make(a, space)
			if err != nil {
				return nil, err
			}
			out = append(out, found...)
		}
	}
	for i := range out {
		f := &out[i]
		parts := []string{f.Space, f.Place}
		if f.At > 0 {
			parts = append(parts, fmt.Sprint(f.At))
		}
		f.ID = strings.Join(append(parts, f.What), "/")
	}
	return out, nil
}

// text is one text of a namespace.
func text(a *dump.Archive, space string, kind dump.Kind) string {
	f, _ := a.File(dump.FileName(space, kind))
	return f.Text
}

// eachLine changes lines of a text: edit returns what stands in a line's place.
func eachLine(edit func(line string) []string) func(string) string {
	return func(text string) string {
		var out []string
		for line := range strings.SplitSeq(text, "\n") {
			out = append(out, edit(line)...)
		}
		return strings.Join(out, "\n")
	}
}

// without drops lines.
func without(drop func(line string) bool) func(string) string {
	return eachLine(func(line string) []string {
		if drop(line) {
			return nil
		}
		return []string{line}
	})
}

// instead puts another line in the place of one.
func instead(old, new string) func(string) string {
	return eachLine(func(line string) []string {
		if line == old {
			return []string{new}
		}
		return []string{line}
	})
}
