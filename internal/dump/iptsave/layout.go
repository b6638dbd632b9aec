// SPDX-License-Identifier: Apache-2.0

package iptsave

// layout is what stands around the rules.
type layout struct {
	parsed bool    // read from a text, which has its own COMMIT lines
	loose  []loose // lines that are neither header, chain nor rule, in order
	open   bool    // the last line has no newline
	crlf   bool    // all lines end in a carriage return, too
}

// loose is a comment, an empty line, a COMMIT, an omission mark.
type loose struct {
	line int
	text string
}

// declaration is how a chain is declared.
type declaration uint8

const (
	saved   declaration = iota // ":NAME POLICY [0:0]"
	listed                     // "-P NAME POLICY" or "-N NAME", as iptables -S prints it
	implied                    // not declared, only its rules are there
)

// ruleForm is where a rule deviates from how it is usually printed.
type ruleForm struct {
	// targetAt is how many conditions stand in front of the target, plus one; 0 is
	// the usual place behind all.
	targetAt int
	// countersAt is how many conditions stand in front of "-c", plus one (iptables
	// -S -v); 0 is the usual place in front of the rule, in brackets.
	countersAt int
	// countersLate: they stand behind the target, where both have the same place.
	countersLate bool
	// tail is what stands at the line's end: the blank that versions before 1.4.11
	// print, an author's remark ("  # ...").
	tail string
	// gaps are blanks beyond one between two words.
	gaps []gap
}

// gap says that extra blanks stand in front of a word.
type gap struct{ word, extra int }
