// SPDX-License-Identifier: Apache-2.0

package nodediff

// block is a group of lines that are compared with one another: the rules of a
// chain, the routes of a table.
type block struct {
	space   string
	section Section
	place   string
	file    string
	ordered bool
	// excerpt tells that what is there may be a part only: what is missing was
	// perhaps left out.
	excerpt bool
	want    []item
	have    []item
}

// compare finds out what each line is.
func (b block) compare() []Finding {
	var out []Finding
	for _, p := range align(b.want, b.have, b.ordered) {
		f := Finding{Kind: p.kind, Space: b.space, Section: b.section, Place: b.place, File: b.file}
		var want, have item
		if p.want >= 0 {
			want = b.want[p.want]
			f.Want, f.Why = want.line, want.why
			if b.ordered {
				f.WantAt = p.want + 1
			}
		}
		if p.have >= 0 {
			have = b.have[p.have]
			f.Have, f.Line, f.Owner = have.line, have.lineNo, have.owner
			if b.ordered {
				f.HaveAt = max(have.at, p.have+1)
			}
			if have.file != "" {
				f.File = have.file
			}
		}
		switch p.kind {
		case Changed:
			f.Fields = differing(want, have)
		case Missing:
			f.File = ""
			if want.spare {
				continue
			}
			if b.excerpt {
				f.Kind = Unshown
			}
		case Extra:
			if have.owner != "" {
				f.Kind, f.Count = Foreign, 1
			}
			f.Why = have.why
		}
		out = append(out, f)
	}
	return out
}
