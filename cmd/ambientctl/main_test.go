// SPDX-License-Identifier: Apache-2.0

package main

import (
	"strings"
	"testing"
)

// What is mistyped fails, and the error says what to type.
func TestMistypedCommands(t *testing.T) {
	for line, want := range map[string]string{
		"labs":                     `unknown command "labs"`,
		"lab rnu":                  `unknown command "rnu"`,
		"lab run":                  "ambientctl lab run article",
		"lab run bookinfo":         "ambientctl lab run article",
		"lab run article bookinfo": "ambientctl lab run article",
		"lab exec sleep":           "ambientctl lab exec HOST -- COMMAND",
		"inside out":               `unknown command "out"`,
	} {
		if code, stdout, stderr := ambientctl(t, "", strings.Fields(line)...); code != 1 || stdout != "" || !strings.Contains(stderr, want) {
			t.Errorf("%s: exit code %d\n%s%s", line, code, stdout, stderr)
		}
	}
	state := t.TempDir()
	for _, line := range []string{"lab verify", "lab exec sleep -- true"} {
		args := append([]string{"lab", "--state-dir", state}, strings.Fields(line)[1:]...)
		if code, _, stderr := ambientctl(t, "", args...); code != 1 || !strings.Contains(stderr, "ambientctl lab up") {
			t.Errorf("%s without a lab: exit code %d: %s", line, code, stderr)
		}
	}
}
