// SPDX-License-Identifier: Apache-2.0

package noderoute

import "testing"

// A table that makes no sense is no reason to end.
func FuzzLegacySum(f *testing.F) {
	f.Add([]byte{}, []byte{})
	f.Add(make([]byte, iptInfoLen), make([]byte, iptElems+xtTargetHeader))
	entry := make([]byte, 2*(iptElems+xtTargetHeader+8))
	entry[iptTargetOffset], entry[iptNextOffset] = iptElems, iptElems+xtTargetHeader+8
	copy(entry[iptElems+xtTargetName:], xtErrorTarget)
	copy(entry[iptElems+xtTargetHeader:], "ztunnel-INPUT")
	f.Add(make([]byte, iptInfoLen), entry)
	f.Fuzz(func(t *testing.T, numbers, blob []byte) {
		info := make([]byte, iptInfoLen)
		copy(info, numbers)
		once, again := legacySum(info, blob), legacySum(info, blob)
		if once != again {
			t.Error("two sums of one table")
		}
	})
}
