// SPDX-License-Identifier: Apache-2.0

package iptsave

import (
	"strings"
)

// cursor goes through the words of one rule. Words are as printed, quotes included.
type cursor struct {
	words []string
	at    int
}

// option is an option's name with the "!" that belongs to it.
type option struct {
	name      string
	not, late bool
}

func (c *cursor) done() bool { return c.at >= len(c.words) }

// peek is the next word, or "" at the end.
func (c *cursor) peek() string {
	if c.done() {
		return ""
	}
	return c.words[c.at]
}

// word takes the next word.
func (c *cursor) word() (string, bool) {
	if c.done() {
		return "", false
	}
	c.at++
	return c.words[c.at-1], true
}

// moreOptions tells that the module which is being read has further options.
func (c *cursor) moreOptions() bool {
	at := c.at
	if at < len(c.words) && c.words[at] == "!" {
		at++
	}
	return at < len(c.words) && strings.HasPrefix(c.words[at], "--")
}

// option takes the next long option, with a "!" in front of it.
func (c *cursor) option() (option, bool) {
	if !c.moreOptions() {
		return option{}, false
	}
	var o option
	if c.words[c.at] == "!" {
		o.not = true
		c.at++
	}
	o.name = c.words[c.at]
	c.at++
	return o, true
}

// value takes an option's argument, and a "!" in front of it.
func (c *cursor) value(o *option) (string, bool) {
	if c.peek() == "!" && !o.not {
		o.not, o.late = true, true
		c.at++
	}
	return c.word()
}

// rest takes what is left of a module or target: all words up to one that can only
// begin the next part of the rule.
func (c *cursor) rest() []string {
	from := c.at
	for !c.done() && !c.boundary() {
		c.at++
	}
	if c.at == from {
		return nil
	}
	return append([]string(nil), c.words[from:c.at]...)
}

// boundary tells that the next word begins another part of the rule.
func (c *cursor) boundary() bool {
	at := c.at
	if c.words[at] == "!" {
		at++
	}
	if at >= len(c.words) {
		return false
	}
	switch c.words[at] {
	case "-m", "-j", "-g", "-p", "-s", "-d", "-i", "-o", "-f", "-c":
		return true
	}
	return false
}

// split cuts a line into words at blanks outside quotes and puts them behind dst.
// Blanks beyond one are noted in the form. bad is the place of a quote that is not
// closed, -1 where there is none.
func split(dst []string, line string, form *ruleForm) (words []string, bad int) {
	end := len(line) - len(tail(line))
	form.tail = line[end:]
	first := len(dst)
	for at := 0; at < end; {
		extra := 0
		for line[at] == ' ' {
			at++
			extra++
		}
		if extra > 0 {
			form.gaps = append(form.gaps, gap{len(dst) - first, extra})
		}
		stop, closed := wordEnd(line, at, end)
		if !closed {
			return dst, at
		}
		dst = append(dst, line[at:stop])
		at = stop + 1
	}
	return dst, -1
}

// tail is what stands at a line's end and belongs to nothing: blanks, a remark
// ("  # ...") that somebody wrote there.
func tail(line string) string {
	end := len(line)
	option := true // what stands behind an option is its value, whatever it begins with
	for at := 0; at < len(line); {
		if line[at] == ' ' {
			at++
			continue
		}
		if line[at] == '#' && (!option || at+1 == len(line) || line[at+1] == ' ') {
			end = at
			break
		}
		stop, _ := wordEnd(line, at, len(line))
		option = line[at] == '-' && stop > at+1
		at = stop
	}
	return line[len(strings.TrimRight(line[:end], " ")):]
}

// wordEnd is where the word that begins at that place ends.
func wordEnd(line string, at, end int) (stop int, closed bool) {
	quoted := false
	for ; at < end; at++ {
		switch line[at] {
		case '"':
			quoted = !quoted
		case '\\':
			if quoted {
				at++
			}
		case ' ':
			if !quoted {
				return at, true
			}
		}
	}
	if at > end || quoted {
		return len(line), false
	}
	return end, true
}

// unquote is a word's text, and whether it stood in quotes.
func unquote(word string) (text string, quoted bool) {
	if len(word) < 2 || word[0] != '"' || word[len(word)-1] != '"' {
		return word, false
	}
	word = word[1 : len(word)-1]
	if strings.IndexByte(word, '\\') < 0 {
		return word, true
	}
	var b strings.Builder
	for i := 0; i < len(word); i++ {
		if word[i] == '\\' && i+1 < len(word) {
			i++
		}
		b.WriteByte(word[i])
	}
	return b.String(), true
}

// appendQuoted escapes what iptables escapes: both quotes and the backslash.
func appendQuoted(b []byte, text string, quoted bool) []byte {
	if !quoted {
		return append(b, text...)
	}
	b = append(b, '"')
	for i := range len(text) {
		if c := text[i]; c == '"' || c == '\\' || c == '\'' {
			b = append(b, '\\')
		}
		b = append(b, text[i])
	}
	return append(b, '"')
}

func appendWords(b []byte, words []string) []byte {
	for _, w := range words {
		b = append(b, ' ')
		b = append(b, w...)
	}
	return b
}
