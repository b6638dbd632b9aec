// SPDX-License-Identifier: Apache-2.0

package admin_test

import (
	"io/fs"
	"testing"

	"github.com/ambient22/ambient22/hack/topologies"
	"github.com/ambient22/ambient22/internal/lab/listing"
	"github.com/ambient22/ambient22/internal/proxy/admin"
)

// The article took seven listings from a ztunnel's config_dump. A proxy that was
// served the article's configuration must print each of them.
func TestArticlesListings(t *testing.T) {
	folder, err := fs.Sub(topologies.Article(), "listings")
	if err != nil {
		t.Fatal(err)
	}
	set, err := listing.Load(folder)
	if err != nil {
		t.Fatal(err)
	}
	dumps := map[string]string{}
	for host, node := range map[string]string{"ztunnel-a": nodeA, "ztunnel-b": nodeB} {
		dumps[host] = get(t, admin.New(admin.Config{Source: &source{snapshot: articleState(t, node)}}), "/config_dump?include_eds")
	}
	compared := 0
	for i := range set.Listings {
		l := &set.Listings[i]
		if l.Get == "" {
			continue
		}
		compared++
		if r := set.Compare(l, dumps[l.Host], nil); r.Status != listing.Reproduced {
			t.Errorf("listing %02d, %s: %s: %s", l.Number, l.Title(), r.Status, r.Detail)
		}
	}
	if compared != 7 {
		t.Errorf("compared %d listings, want 7", compared)
	}
}
