// SPDX-License-Identifier: Apache-2.0

package dump

import (
	"path"
	"strings"
	"unicode"
)

// scope is whose a loose text is.
type scope struct {
	node  string // "a" of "node-a" and "ztunnel-a", or a folder's name; "" where nothing says it
	space string // "host", "ztunnel", a pod's name, or "" where nothing says it
}

// podSpace is the name of a pod's namespace where the files do not name it.
const podSpace = "pod"

// scopeOfName reads a file's name: the words node, host, ztunnel, pod and sidecar
// say which namespace, and a letter or number behind them which node. A folder
// that is called otherwise is a node's.
func scopeOfName(name string) scope {
	if space, _, ok := place(name); ok {
		return scope{space: space}
	}
	var s scope
	dir, base := path.Split(name)
	for folder := range strings.SplitSeq(strings.Trim(dir, "/"), "/") {
		if folder == "" || folder == podsFolder {
			continue
		}
		if inner := scopeOfWords(folder); inner != (scope{}) {
			s = s.with(inner)
		} else if strings.Contains(name, podsFolder+"/"+folder) {
			s.space = strings.Replace(folder, "_", "/", 1)
		} else {
			s.node = folder
		}
	}
	return s.with(scopeOfWords(base))
}

// with is what s says together with what a more precise one says.
func (s scope) with(inner scope) scope {
	if inner.node != "" {
		s.node = inner.node
	}
	if inner.space != "" {
		s.space = inner.space
	}
	return s
}

func scopeOfWords(name string) scope {
	var s scope
	words := split(name)
	for i, word := range words {
		space := spaceOf(word)
		if space == "" {
			continue
		}
		if s.space == "" || s.space == HostSpace { // "ztunnel of node a"
			s.space = space
		}
		if i+1 < len(words) && isKey(words[i+1]) {
			s.node = words[i+1]
		}
	}
	return s
}

func spaceOf(word string) string {
	switch word {
	case "host", "node":
		return HostSpace
	case "ztunnel":
		return ZtunnelSpace
	case "pod", "sidecar":
		return podSpace
	}
	return ""
}

// isKey tells whether a word can tell one node from another: a letter or a number.
func isKey(word string) bool {
	return len(word) == 1 && unicode.IsLetter(rune(word[0])) || len(word) <= 3 && digits(word)
}

// split cuts a name into its words, in small letters. Letters and digits are
// words apart.
func split(name string) []string {
	var words []string
	var word strings.Builder
	end := func() {
		if word.Len() > 0 {
			words = append(words, word.String())
		}
		word.Reset()
	}
	digit := false
	for _, r := range strings.ToLower(name) {
		switch {
		case !unicode.IsLetter(r) && !unicode.IsDigit(r):
			end()
			continue
		case unicode.IsDigit(r) != digit:
			end()
		}
		digit = unicode.IsDigit(r)
		word.WriteRune(r)
	}
	end()
	return words
}

// spaceOfText finds by what stands in a text which namespace it is from; "" where
// it may be any.
func spaceOfText(kind Kind, text string) string {
	switch {
	case kind == KindConfigDump:
		return ZtunnelSpace
	case strings.Contains(text, "pistioin") || strings.Contains(text, "pistioout") || strings.Contains(text, "fwmark 0x400/0xfff"):
		return ZtunnelSpace
	case strings.Contains(text, "ISTIO_") || strings.Contains(text, "fwmark 0x539") || strings.Contains(text, "fwmark 0x111/0xfff"):
		return podSpace
	case strings.Contains(text, "ztunnel-PREROUTING") || strings.Contains(text, "istioin") || strings.Contains(text, "istioout") ||
		strings.Contains(text, "KUBE-") || strings.Contains(text, "ztunnel-pods-ips"):
		return HostSpace
	}
	return ""
}
