// SPDX-License-Identifier: Apache-2.0

package main

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"unicode"
)

// checkLinks follows every relative link of every Markdown file, to a file and to
// a heading in it. Links to other sites are not followed.
func checkLinks(root string) ([]string, error) {
	var faults []string
	err := walk(root, ".md", func(path string, text []byte) error {
		for _, l := range links(string(text)) {
			if reason := broken(root, path, l.target); reason != "" {
				faults = append(faults, fmt.Sprintf("%s:%d: link %s: %s", path, l.line, l.target, reason))
			}
		}
		return nil
	})
	slices.Sort(faults)
	return faults, err
}

type link struct {
	line   int
	target string
}

// links is the targets of inline links, what stands in code left out.
func links(text string) []link {
	inline := regexp.MustCompile(`\]\(<?([^()<>\s]+(?:\([^()\s]*\))?)>?(?:\s+"[^"]*")?\)`)
	code := regexp.MustCompile("`[^`]*`")
	var out []link
	fenced := false
	for i, line := range strings.Split(text, "\n") {
		if strings.HasPrefix(strings.TrimSpace(line), "```") {
			fenced = !fenced
			continue
		}
		if fenced {
			continue
		}
		for _, m := range inline.FindAllStringSubmatch(code.ReplaceAllString(line, "code"), -1) {
			out = append(out, link{line: i + 1, target: m[1]})
		}
	}
	return out
}

// broken is why the link leads nowhere, or "".
func broken(root, from, target string) string {
	if strings.Contains(target, "://") || strings.HasPrefix(target, "mailto:") {
		return ""
	}
	file, anchor, _ := strings.Cut(target, "#")
	path := filepath.Join(root, from)
	if file != "" {
		path = filepath.Join(root, filepath.Dir(from), filepath.FromSlash(file))
	}
	text, err := os.ReadFile(path)
	if err != nil {
		if info, statErr := os.Stat(path); statErr == nil && info.IsDir() && anchor == "" {
			return ""
		}
		return "no such file"
	}
	if anchor != "" && !slices.Contains(anchors(string(text)), anchor) {
		return "no such heading"
	}
	return ""
}

// anchors is the names that GitHub gives to a file's headings.
func anchors(text string) []string {
	var out []string
	seen := make(map[string]int)
	fenced := false
	for _, line := range strings.Split(text, "\n") {
		if strings.HasPrefix(strings.TrimSpace(line), "```") {
			fenced = !fenced
		}
		heading := strings.TrimLeft(line, "#")
		if fenced || heading == line || !strings.HasPrefix(heading, " ") {
			continue
		}
		slug := slugOf(heading)
		if n := seen[slug]; n > 0 {
			out = append(out, fmt.Sprintf("%s-%d", slug, n))
		} else {
			out = append(out, slug)
		}
		seen[slug]++
	}
	return out
}

func slugOf(heading string) string {
	heading = regexp.MustCompile(`\[([^\]]*)\]\([^)]*\)`).ReplaceAllString(heading, "$1")
	return strings.Map(func(r rune) rune {
		switch {
		case unicode.IsLetter(r), unicode.IsDigit(r), r == '-', r == '_':
			return unicode.ToLower(r)
		case r == ' ':
			return '-'
		}
		return -1
	}, strings.TrimSpace(heading))
}
