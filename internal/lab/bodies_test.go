// SPDX-License-Identifier: Apache-2.0

package lab

import "testing"

// Load and large bodies, through both proxies. The tunnel to and from them is
// VXLAN here: a gibibyte through an emulated machine's Geneve takes too long.
func TestLoadAndLargeBodies(t *testing.T) {
	l := up(t, "nft")
	results, err := l.Load(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range results {
		if r.Error != "" {
			t.Errorf("%s: %s", r.Name, r.Error)
		}
		t.Logf("%s: %s", r.Name, r.Result)
	}
	for _, down := range []bool{false, true} {
		text, err := l.Transfer(t.Context(), callerHost, callURL, 1<<30, down)
		if err != nil {
			t.Error(err)
		}
		t.Logf("1 GiB, down %v: %s", down, text)
	}
}
