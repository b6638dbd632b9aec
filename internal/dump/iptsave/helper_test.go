// SPDX-License-Identifier: Apache-2.0

package iptsave

import (
	"fmt"
	"strings"
)

// blank takes away the lines as they were read: printing must not need them.
func blank(s *Save) {
	for _, t := range s.Tables {
		for _, c := range t.Chains {
			for _, r := range c.Rules {
				r.text = ""
			}
		}
	}
}

// firstDifference names the first line in which two texts differ.
func firstDifference(want, got string) string {
	a, b := strings.Split(want, "\n"), strings.Split(got, "\n")
	for i := range a {
		if i >= len(b) {
			return fmt.Sprintf("line %d is missing: %q", i+1, a[i])
		}
		if a[i] != b[i] {
			return fmt.Sprintf("line %d:\nwant %q\ngot  %q", i+1, a[i], b[i])
		}
	}
	return fmt.Sprintf("%d lines too many", len(b)-len(a))
}
