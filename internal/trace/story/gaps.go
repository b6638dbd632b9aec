// SPDX-License-Identifier: Apache-2.0

package story

import (
	"fmt"
	"slices"
	"strings"
)

// gaps notes what a dump says that it lacks, without files that are no dump's.
func (t *traveller) gaps(n *node) {
	var list []string
	for _, g := range n.dump.Gaps {
		if !strings.Contains(g, ": not read: ") {
			list = append(list, g)
		}
	}
	if len(list) > 0 {
		t.doubt(fmt.Sprintf("The dump of %s is not complete: %s.", n.name(), strings.Join(gathered(list), "; ")))
	}
	if n.host != nil && unknownSysctls(n.host.ns) {
		t.doubt(fmt.Sprintf("The dump of %s has no sysctls: forwarding is taken to be on, as on every node with pods.", n.name()))
	}
}

// gathered are gaps ("host: ip-rule: not installed") with the kinds that one
// namespace lacks for the same reason together, and then the namespaces.
func gathered(gaps []string) []string {
	kinds := fold(gaps, func(g string) (key, part string) {
		space, rest, _ := strings.Cut(g, ": ")
		kind, reason, ok := strings.Cut(rest, ": ")
		if !ok {
			return "\x00" + rest, space
		}
		return space + "\x00" + reason, kind
	})
	var list []string
	for _, k := range kinds {
		space, reason, _ := strings.Cut(k.key, "\x00")
		if space == "" {
			list = append(list, strings.Join(k.parts, ", ")+": "+reason)
			continue
		}
		list = append(list, space+"\x00"+strings.Join(k.parts, ", ")+": "+reason)
	}
	var out []string
	for _, s := range fold(list, func(l string) (key, part string) {
		space, rest, ok := strings.Cut(l, "\x00")
		if !ok {
			return l, ""
		}
		return rest, space
	}) {
		if len(s.parts) > maxNamed {
			s.parts = append(s.parts[:maxNamed-1], fmt.Sprintf("%d more", len(s.parts)-maxNamed+1))
		}
		if text := strings.Join(s.parts, ", "); text != "" {
			s.key = text + ": " + s.key
		}
		out = append(out, s.key)
	}
	return out
}

// maxNamed is how many namespaces a sentence names.
const maxNamed = 4

// foldedParts are those that share a key.
type foldedParts struct {
	key   string
	parts []string
}

// fold gathers what shares a key, in the order of the first of each.
func fold(list []string, cut func(string) (key, part string)) []foldedParts {
	var out []foldedParts
	for _, text := range list {
		key, part := cut(text)
		i := slices.IndexFunc(out, func(f foldedParts) bool { return f.key == key })
		if i < 0 {
			i, out = len(out), append(out, foldedParts{key: key})
		}
		out[i].parts = append(out[i].parts, part)
	}
	return out
}
