// SPDX-License-Identifier: Apache-2.0

package faults

import (
	"fmt"
	"slices"
	"strings"

	"github.com/ambient22/ambient22/internal/nodediff"
)

// NamedBy tells whether a finding of diff names this fault: the right kind, line,
// place and field.
func (f Fault) NamedBy(found nodediff.Finding) bool {
	if found.Kind != f.Kind || found.Space != f.Space || found.Section != f.Section {
		return false
	}
	switch f.Section {
	case nodediff.IPTables, nodediff.Routes, nodediff.Devices:
		if found.Place != f.Place {
			return false
		}
	}
	line := found.Want
	if f.Kind == nodediff.Extra {
		line = found.Have
	}
	switch f.Section {
	case nodediff.Devices:
		if !strings.HasPrefix(line, f.Line+" ") {
			return false
		}
	default:
		if line != f.Line {
			return false
		}
	}
	if f.At > 0 && f.Kind != nodediff.Extra && found.WantAt != f.wantAt(found) {
		return false
	}
	return f.Field == "" || slices.ContainsFunc(found.Fields, func(x nodediff.Field) bool { return x.Name == f.Field })
}

// wantAt is the place that the plan has for the rule: in built-in chains others'
// rules, and the rule that logs, do not count the same way.
func (f Fault) wantAt(found nodediff.Finding) int {
	if strings.Contains(f.Place, "/ztunnel-") {
		return f.At
	}
	return found.WantAt
}

// Describe is a finding in one line.
func Describe(f nodediff.Finding) string {
	line := f.Have
	if line == "" {
		line = f.Want
	}
	text := fmt.Sprintf("%s: %s", f.Kind, line)
	switch f.Kind {
	case nodediff.Moved:
		text += fmt.Sprintf(" (place %d → %d)", f.WantAt, f.HaveAt)
	case nodediff.Changed, nodediff.Contradiction:
		var fields []string
		for _, x := range f.Fields {
			fields = append(fields, x.String())
		}
		text = fmt.Sprintf("%s: %s (%s)", f.Kind, f.Want, strings.Join(fields, ", "))
	}
	return text
}
