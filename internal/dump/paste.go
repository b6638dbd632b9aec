// SPDX-License-Identifier: Apache-2.0

package dump

import "strings"

// setListed is how each set begins that ipset list prints.
const setListed = "Name: "

// isFence tells whether a line begins or ends a listing in a text of Markdown.
func isFence(line string) bool {
	line = strings.TrimLeft(line, " \t")
	return strings.HasPrefix(line, "```") || strings.HasPrefix(line, "~~~")
}

// isChatter tells whether a line is what kubectl says above the output of the
// command that it runs in a pod.
func isChatter(line string) bool {
	for _, beginning := range []string{
		"Defaulting debug container name to ", "Defaulting container name to ", "Defaulted container ", "Targeting container ",
		"If you don't see a command prompt", "Use 'kubectl describe pod/", "Unable to use a TTY", "All commands and output from this session",
		"--profile=", "Warning: ", "Creating debugging pod ",
	} {
		if strings.HasPrefix(line, beginning) {
			return true
		}
	}
	return false
}

// isForeign tells whether a line that is no output of ours says something, and is
// no remark that may belong to what follows.
func isForeign(line string) bool {
	line = strings.TrimSpace(line)
	switch {
	case line == "", line[0] == '#', line == "...", line == "…", strings.HasPrefix(line, "/*"):
		return false
	}
	return true
}
