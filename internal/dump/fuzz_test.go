// SPDX-License-Identifier: Apache-2.0

package dump

import (
	"encoding/json"
	"errors"
	"strings"
	"testing"

	"github.com/ambient22/ambient22/internal/dump/syntax"
)

// FuzzLoose: whatever a loose file has in it, it is read or refused with a place.
func FuzzLoose(f *testing.F) {
	f.Add("a.txt", "0:\tfrom all lookup local\ndefault via 10.0.0.1 dev eth0 \n")
	f.Add("ztunnel-b.json", `{"name": "x", "filter_chains": [{...},...]}`)
	f.Add("host.txt", "*nat\n:PREROUTING ACCEPT [0:0]\n-A PREROUTING -j X\nCOMMIT\n1: lo: <UP> mtu 1\ncreate a hash:ip\n")
	f.Add("x", "tcp 6 1 src=1.2.3.4 dst=1.2.3.4\nnet.ipv4.x = 1\ntable ip x {\n}\n")
	f.Fuzz(func(t *testing.T, name, text string) {
		tr := &tree{files: []File{{Name: name, Text: text}}}
		nodes, err := tr.loose()
		if err == nil && len(nodes) == 0 {
			t.Error("no node and no error")
		}
		var where *syntax.Error
		if errors.As(err, &where) && (where.Line < 1 || where.Column < 1 || where.Line > strings.Count(text, "\n")+2) {
			t.Errorf("no place: %v", err)
		}
	})
}

// FuzzFill: what is JSON stays what it is, and everything keeps its length.
func FuzzFill(f *testing.F) {
	f.Add(`{"a": [{...}, ...], "b": ..., "c": "..."}`)
	f.Add(`[{...}}]`)
	f.Add(`{"a": 1, /* omit */ }`)
	f.Fuzz(func(t *testing.T, text string) {
		got, _ := fill(text)
		if len(got) != len(text) {
			t.Errorf("%d bytes became %d", len(text), len(got))
		}
		if json.Valid([]byte(text)) && string(got) != text {
			t.Errorf("%q became %q", text, got)
		}
	})
}
