// SPDX-License-Identifier: Apache-2.0

package dump

import (
	"fmt"
	"strings"

	"github.com/ambient22/ambient22/internal/dump/syntax"
)

// section is a part of a loose file that has one kind.
type section struct {
	kind Kind
	text string
	// hint is the line of a shell, or a heading, that stands above it.
	hint string
	// members: it is what ipset list prints, where a line may be just an address.
	members bool
	// strange is the number of the first line above it that is left out, because it
	// is nothing known; 0 where there is none.
	strange int
}

// kindNone is the kind of lines that say nothing themselves: blank ones,
// continuations, comments.
const kindNone Kind = ""

// kindIPv6 is what is recognised and not read.
const kindIPv6 Kind = "ip6tables-save"

// mostSections is how many outputs may follow one another in a file. More are no
// file that somebody wrote, and each costs its blank lines.
const mostSections = 200

// sections splits a text into the outputs of the programs that stand in it one
// after another. A text with nothing known in it has none. All but the first keep
// their line numbers by blank lines above them.
func sections(file, text string) ([]section, error) {
	if isJSON(text) {
		return []section{{kind: KindConfigDump, text: text}}, nil
	}
	var all []section
	now := section{}
	start, lines, startLine, strange := 0, 0, 0, 0
	end := func(at int) {
		if now.kind != kindNone {
			now.strange, strange = strange, 0
			now.text = strings.Repeat("\n", startLine) + text[start:at]
			all = append(all, now)
		}
	}
	offset := 0
	for line := range strings.Lines(text) {
		kind := kindOf(line, now.kind)
		if now.members && kind == KindRoutes {
			kind = kindNone
		}
		members := strings.HasPrefix(line, setListed)
		switch {
		case isHeading(line):
			end(offset)
			now = section{hint: strings.TrimSpace(line)}
			start, startLine = offset+len(line), lines+1
		case isFence(line):
			end(offset)
			if now.kind != kindNone {
				now.hint = ""
			}
			now = section{hint: now.hint}
			start, startLine = offset+len(line), lines+1
		case kind == kindNone && now.kind == kindNone && isForeign(line):
			if strange == 0 && !isChatter(line) {
				strange = lines + 1
			}
			start, startLine = offset+len(line), lines+1
		case kind == kindNone || kind == now.kind:
		case now.kind == kindNone:
			now.kind, now.members = kind, members
		default:
			end(offset)
			now = section{kind: kind, members: members}
			start, startLine = offset, lines
		}
		offset += len(line)
		lines++
		if len(all) > mostSections {
			return nil, &syntax.Error{
				File: file, Line: lines, Column: 1,
				Reason: fmt.Sprintf("the output of another program begins for the %dth time: it is no dump", mostSections),
			}
		}
	}
	end(len(text))
	return all, nil
}

// isJSON tells it by the beginning: an object, or a list of objects.
func isJSON(text string) bool {
	const blank = " \t\r\n"
	text = strings.TrimLeft(text, blank)
	if list, ok := strings.CutPrefix(text, "["); ok {
		text = strings.TrimLeft(list, blank)
	}
	return strings.HasPrefix(text, "{")
}

// isHeading tells whether a line is what somebody typed to get what follows, or
// wrote above it.
func isHeading(line string) bool {
	for _, prefix := range []string{"$ ", "+ ", "=", "---", "##"} {
		if strings.HasPrefix(line, prefix) {
			return true
		}
	}
	if isPrompt(line) {
		return true
	}
	for _, prompt := range []string{"# ", "$ "} {
		at := strings.Index(line, prompt)
		if at <= 0 {
			continue
		}
		rest := strings.TrimPrefix(line[at+len(prompt):], "sudo ")
		command, _, _ := strings.Cut(strings.TrimSpace(rest), " ")
		switch command {
		case "ip", "k", "oc", "istioctl", "podman", "ssh", "iptables", "iptables-save", "iptables-nft-save", "iptables-legacy-save", "ip6tables-save", "ipset", "nft", "conntrack", "sysctl",
			"kubectl", "nsenter", "docker", "crictl":
			return true
		}
	}
	return false
}

// kindOf is the kind of output that a line belongs to. now is that of the lines
// above it.
func kindOf(line string, now Kind) Kind {
	line = strings.TrimRight(line, " \t\r\n")
	switch {
	case line == "" || line[0] == ' ' || line[0] == '\t':
		return kindNone
	case now == KindRuleset && !strings.HasPrefix(line, "table "):
		// The body of a table is indented, but for its last brace.
		if line == "}" {
			return kindNone
		}
	case line[0] == '#':
		return comment(line)
	}
	if isSaveLine(line) {
		if now == kindIPv6 {
			return kindNone
		}
		return KindLegacySave // or the other variant: the text as a whole says which
	}
	word, rest, _ := strings.Cut(line, " ")
	switch {
	case word == "create" || word == "add" || strings.HasPrefix(line, setListed):
		return KindSets
	case word == "table" && strings.HasSuffix(line, "{"):
		return KindRuleset
	case strings.Contains(rest, " src=") && strings.Contains(rest, " dst="):
		return KindConns
	case strings.Contains(word, ".") && strings.HasPrefix(rest, "= "):
		return KindSysctls
	}
	if number, after, found := strings.Cut(line, ":"); found && digits(number) {
		after = strings.TrimSpace(after)
		switch {
		case strings.HasPrefix(after, "from ") || strings.HasPrefix(after, "not "):
			return KindRules
		case strings.Contains(after, ": <"):
			return KindLinks
		}
	}
	if isRouteLine(word) || isRoute6Line(word, rest) {
		return KindRoutes
	}
	return kindNone
}

func comment(line string) Kind {
	switch {
	case strings.HasPrefix(line, "# Generated by ip6tables"):
		return kindIPv6
	case strings.HasPrefix(line, "# Generated by iptables"), strings.HasPrefix(line, "# Generated by xtables-save"):
		return KindLegacySave
	}
	return kindNone
}

func isSaveLine(line string) bool {
	switch {
	case strings.HasPrefix(line, "-A "), strings.HasPrefix(line, "-N "), strings.HasPrefix(line, "-P "), line == "COMMIT":
		return true
	case line[0] == '[':
		return strings.Contains(line, "] -A ")
	case line[0] == ':':
		return strings.Count(line, " ") >= 1
	case line[0] == '*':
		name, _, _ := strings.Cut(strings.TrimLeft(line[1:], " "), " ")
		switch name {
		case "raw", "mangle", "nat", "filter", "security":
			return true
		}
	}
	return false
}

// isRouteLine tells by a line's first word whether it is a route.
func isRouteLine(word string) bool {
	switch word {
	case "default", "local", "broadcast", "unreachable", "blackhole", "prohibit", "throw", "unicast", "multicast", "anycast":
		return true
	}
	return strings.Count(word, ".") == 3 && strings.Trim(word, "0123456789./") == "" && !strings.HasPrefix(word, ".")
}

// isRoute6Line tells whether a line is a route of IPv6, as ip route show table all
// prints them behind the others.
func isRoute6Line(word, rest string) bool {
	return strings.Count(word, ":") >= 2 && strings.Trim(word, "0123456789abcdef:./") == "" &&
		(strings.HasPrefix(rest, "dev ") || strings.HasPrefix(rest, "via ") || strings.HasPrefix(rest, "proto "))
}

func digits(s string) bool { return s != "" && strings.Trim(s, "0123456789") == "" }
