// SPDX-License-Identifier: Apache-2.0

package syntax

import "strings"

// Kept is how a record stood in its text, where a printer would write it
// otherwise: blanks of an older version, an unusual order, a comment before it.
// A nil Kept means that the record is printed as it stood.
//
// It gives way to the model: once the record has been changed, so that it prints
// otherwise than when it was read, the printer's form is used.
type Kept struct {
	before, raw, after string
	printed            string
}

// Keep compares what stood in the text with what the printer makes of the record.
// before is what stands between the previous record and this one; after what
// follows the last one.
func Keep(before, raw, after, printed string) *Kept {
	if before == "" && after == "" && raw == printed {
		return nil
	}
	k := &Kept{before: before, raw: raw, after: after, printed: printed}
	if raw == printed {
		k.raw, k.printed = "", ""
	}
	return k
}

// Write writes the record. printed is what the printer makes of it now.
func (k *Kept) Write(b *strings.Builder, printed string) {
	if k == nil {
		b.WriteString(printed)
		return
	}
	b.WriteString(k.before)
	if k.raw != "" && k.printed == printed {
		b.WriteString(k.raw)
	} else {
		b.WriteString(printed)
	}
	b.WriteString(k.after)
}

// Reprinted tells that the printer's form of the record is the text's own.
func (k *Kept) Reprinted() bool { return k == nil || k.raw == "" }
