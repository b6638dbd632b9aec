// SPDX-License-Identifier: Apache-2.0

package lab

import (
	"bytes"
	"slices"
	"strings"
	"testing"

	"github.com/ambient22/ambient22/internal/lab/listing"
)

// The lab on this kernel with VXLAN shows everything but the three listings that
// print the tunnel devices themselves.
func TestArticleWithVXLAN(t *testing.T) {
	for _, iptables := range []string{"legacy", "nft"} {
		t.Run(iptables, func(t *testing.T) {
			t.Parallel()
			l := up(t, iptables)
			r, err := l.run(t.Context(), false)
			if err != nil {
				t.Fatal(err)
			}
			for _, f := range r.Proof.Findings {
				if !f.OK {
					t.Errorf("%s\n%s\n%s", f.Title, f.Text, strings.Join(f.Details, "\n"))
				}
			}
			checkListings(t, r.Listings)
			checkReport(t, r)
		})
	}
}

// tunnelDevices are the listings with the words "geneve id".
var tunnelDevices = []int{4, 5, 17}

func checkListings(t *testing.T, results []listing.Result) {
	t.Helper()
	if len(results) != 20 {
		t.Errorf("got %d listings, want 20", len(results))
	}
	for _, r := range results {
		want := listing.Reproduced
		if slices.Contains(tunnelDevices, r.Number) {
			want = listing.Differs
		}
		if r.Status != want {
			t.Errorf("listing %02d (%s): %s, want %s\n%s\nthe output:\n%s", r.Number, r.Title, r.Status, want, r.Detail, r.Output)
		}
		ofTheDevice := strings.Contains(r.Detail, "vxlan id") || strings.Contains(r.Detail, "maxmtu 65535")
		if want == listing.Differs && !ofTheDevice {
			t.Errorf("listing %02d differs in more than the kind of tunnel: %s", r.Number, r.Detail)
		}
	}
}

func checkReport(t *testing.T, r *Report) {
	t.Helper()
	var text bytes.Buffer
	if err := PrintReport(&text, r); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{
		"Simple Bookstore App", "17 of 20 reproduced", "slip corrected", "productpage saw 10.4.4.18:",
		"VNI 1001", "VNI 1000", callerIdentity, "[ ok ]",
	} {
		if !strings.Contains(text.String(), want) {
			t.Errorf("the report lacks %q", want)
		}
	}
	if t.Failed() {
		t.Log(text.String())
	}
}
