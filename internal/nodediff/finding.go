// SPDX-License-Identifier: Apache-2.0

package nodediff

import "fmt"

// Kind is what is found out about one line.
type Kind string

// The kinds of findings.
const (
	// Equal is there, and where it should be.
	Equal Kind = "equal"
	// Missing should be there and is not.
	Missing Kind = "missing"
	// Extra is where only what is wanted should be, and is not wanted.
	Extra Kind = "extra"
	// Moved is there, in another place of its chain.
	Moved Kind = "moved"
	// Changed is there with other values; Fields says which.
	Changed Kind = "changed"
	// Contradiction is two lines of one dump that cannot both be right.
	Contradiction Kind = "contradiction"
	// Slip is a place where the article contradicts itself.
	Slip Kind = "slip"
	// Foreign is somebody else's. Owner and Count say whose and how many.
	Foreign Kind = "foreign"
	// Unshown is what an excerpt leaves out, or what a dump does not have: nobody
	// knows whether it was there.
	Unshown Kind = "unshown"
)

// Kinds are all kinds, in the order in which they are counted for people.
func Kinds() []Kind {
	return []Kind{Equal, Missing, Extra, Moved, Changed, Contradiction, Slip, Foreign, Unshown}
}

// Differs tells whether a finding of this kind makes two sides different.
func (k Kind) Differs() bool {
	switch k {
	case Missing, Extra, Moved, Changed, Contradiction:
		return true
	}
	return false
}

// Section is what kind of thing a finding is about.
type Section string

// The sections, in the order in which they are shown.
const (
	Parameters Section = "parameters"
	IPTables   Section = "iptables"
	IPRules    Section = "ip rule"
	Routes     Section = "route"
	Devices    Section = "device"
	Sets       Section = "set"
	Sysctls    Section = "sysctl"
	NFTables   Section = "nftables"
	Proxy      Section = "proxy"
)

// Finding is what is found out about one line, or about all lines of one owner.
type Finding struct {
	Kind    Kind    `json:"kind"`
	Space   string  `json:"space"`           // "host", "ztunnel", "NAMESPACE/NAME" of a pod
	Section Section `json:"section"`         //
	Place   string  `json:"place,omitempty"` // "mangle/ztunnel-PREROUTING", "table 100", "istioin"
	// Want and Have are the lines as their own tools print them. One is empty where
	// a line is missing or extra.
	Want string `json:"want,omitempty"`
	Have string `json:"have,omitempty"`
	// Fields are what is not the same, where Kind is Changed or Contradiction.
	Fields []Field `json:"fields,omitempty"`
	// WantAt and HaveAt are places in a chain, from 1; 0 where order does not count.
	WantAt int `json:"wantAt,omitempty"`
	HaveAt int `json:"haveAt,omitempty"`
	// Why says in one sentence what the line is for.
	Why string `json:"why,omitempty"`
	// Note says what else there is to say about this finding.
	Note string `json:"note,omitempty"`
	// File is the text of the dump that has the line, Line its number there.
	File string `json:"file,omitempty"`
	Line int    `json:"line,omitempty"`
	// Owner and Count are of foreign lines.
	Owner string `json:"owner,omitempty"`
	Count int    `json:"count,omitempty"`
	// Listing is the article's listing that the finding is about; 0 for none.
	Listing int `json:"listing,omitempty"`
}

// Field is one value that is not the same on both sides. A value is empty where a
// side does not have the field.
type Field struct {
	Name string `json:"name"` // "mark mask", "-i", "remote"
	Want string `json:"want"`
	Have string `json:"have"`
}

// String is "mask 0x200 → 0xfff": from what is wanted to what is there.
func (f Field) String() string {
	return fmt.Sprintf("%s %s → %s", f.Name, orNothing(f.Want), orNothing(f.Have))
}

func orNothing(s string) string {
	if s == "" {
		return "(nothing)"
	}
	return s
}

// Report is the outcome of one comparison.
type Report struct {
	Version int `json:"version"` // of this format: 1
	// Node is the dump's name; Against says what it was compared with: "plan",
	// "article", or the other dump's name.
	Node        string       `json:"node"`
	Against     string       `json:"against"`
	Generations []Generation `json:"generations"`
	Findings    []Finding    `json:"findings"`
	// Gaps are what the dumps do not have, and why.
	Gaps []string `json:"gaps,omitempty"`
	// Notes are what cannot be seen in any dump and should be known.
	Notes []string `json:"notes,omitempty"`
}

// Differs tells whether there is any difference.
func (r *Report) Differs() bool {
	for _, f := range r.Findings {
		if f.Kind.Differs() {
			return true
		}
	}
	return false
}

// Counts says how many lines there are of each kind; foreign ones count one by one.
func (r *Report) Counts() map[Kind]int { return counts(r.Findings) }

func counts(findings []Finding) map[Kind]int {
	out := map[Kind]int{}
	for _, f := range findings {
		out[f.Kind] += max(f.Count, 1)
	}
	return out
}
