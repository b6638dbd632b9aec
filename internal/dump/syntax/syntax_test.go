// SPDX-License-Identifier: Apache-2.0

package syntax

import (
	"strings"
	"testing"
)

func TestReader(t *testing.T) {
	text := "one  two\t\n\n# three\nfour"
	r := NewReader("f", text)
	var back strings.Builder
	var words []string
	for {
		l, ok := r.Next()
		if !ok {
			break
		}
		back.WriteString(text[l.Start:l.End])
		if l.Blank() {
			continue
		}
		w := WordsOf(l, 0)
		for word := w.Next(); word.Text != ""; word = w.Next() {
			if l.Text[word.At:word.End()] != word.Text {
				t.Errorf("%q is not at %d", word.Text, word.At)
			}
			words = append(words, word.Text)
		}
	}
	if back.String() != text || strings.Join(words, ",") != "one,two,four" {
		t.Errorf("%q, %q", back.String(), words)
	}
}

func TestError(t *testing.T) {
	r := NewReader("ip-rule.txt", "ab\ncd")
	r.Next()
	l, _ := r.Next()
	err := l.Errorf(7, "%q is wrong", l.Text)
	if got, want := err.Error(), `ip-rule.txt:2:3: "cd" is wrong`; got != want {
		t.Errorf("%s, want %s", got, want)
	}
	if !err.Within("ab\ncd") || err.Within("ab") || err.Within("ab\nc") {
		t.Errorf("%+v", err)
	}
	err.File = ""
	if got, want := err.Error(), `line 2, column 3: "cd" is wrong`; got != want {
		t.Errorf("%s, want %s", got, want)
	}
}

// What stood in the text is written until the record is changed.
func TestKept(t *testing.T) {
	for _, c := range []struct {
		kept         *Kept
		now, want    string
		reprintsSame bool
	}{
		{Keep("", "a b\n", "", "a b\n"), "a b\n", "a b\n", true},
		{Keep("# x\n", "a b\n", "\n", "a b\n"), "a c\n", "# x\na c\n\n", true},
		{Keep("", "a  b\n", "", "a b\n"), "a b\n", "a  b\n", false},
		{Keep("", "a  b\n", "", "a b\n"), "a c\n", "a c\n", false},
	} {
		var b strings.Builder
		c.kept.Write(&b, c.now)
		if b.String() != c.want || c.kept.Reprinted() != c.reprintsSame {
			t.Errorf("%q, want %q", b.String(), c.want)
		}
	}
}
