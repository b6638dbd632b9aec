// SPDX-License-Identifier: Apache-2.0

package dump

import (
	"strings"
	"unicode/utf16"
)

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

// isPrompt tells whether a line is a shell's, whatever was typed there.
func isPrompt(line string) bool {
	if strings.HasPrefix(line, "[") && (strings.Contains(line, "]# ") || strings.Contains(line, "]$ ")) || strings.HasPrefix(line, "/ # ") {
		return true
	}
	word, _, _ := strings.Cut(strings.TrimRight(line, "\r\n"), " ")
	return strings.Contains(word, "@") && (strings.HasSuffix(word, "#") || strings.HasSuffix(word, "$"))
}

// isTable tells whether a file is what iptables -L prints.
func isTable(f File) bool {
	for line := range strings.Lines(f.Text) {
		if strings.HasPrefix(line, "Chain ") && (strings.Contains(line, " (policy ") || strings.Contains(line, " references)")) {
			return true
		}
	}
	return false
}

// unquoted is a text without what all its lines have in front because somebody
// quoted or indented it, and in UTF-8 without a mark in front of all: the shell of
// Windows writes files in UTF-16.
func unquoted(text string) string {
	text = strings.TrimPrefix(fromUTF16(text), "\ufeff")
	front, first := "", true
	for line := range strings.Lines(text) {
		if strings.Trim(line, " \t>\r\n") == "" {
			continue
		}
		if first {
			front, first = line[:len(line)-len(strings.TrimLeft(line, " \t>"))], false
		}
		for !strings.HasPrefix(line, front) {
			front = front[:len(front)-1]
		}
		if front == "" {
			return text
		}
	}
	var b strings.Builder
	for line := range strings.Lines(text) {
		if rest, is := strings.CutPrefix(line, front); is {
			b.WriteString(rest)
		} else {
			b.WriteByte('\n') // a blank line, or what a quotation leaves of one
		}
	}
	return b.String()
}

// fromUTF16 converts a text that begins as those of Windows do.
func fromUTF16(text string) string {
	if !strings.HasPrefix(text, "\xff\xfe") {
		return text
	}
	units := make([]uint16, 0, len(text)/2)
	for i := 2; i+1 < len(text); i += 2 {
		units = append(units, uint16(text[i])|uint16(text[i+1])<<8)
	}
	return string(utf16.Decode(units))
}
