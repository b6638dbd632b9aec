// SPDX-License-Identifier: Apache-2.0

package page_test

import (
	"strings"
	"testing"

	"github.com/chromedp/chromedp/kb"

	"github.com/ambient22/ambient22/hack/topologies"
	"github.com/ambient22/ambient22/internal/dump/dumptest"
	"github.com/ambient22/ambient22/internal/nodediff"
	"github.com/ambient22/ambient22/internal/trace/page"
)

// differences is the page of ambientctl diff --html with findings of most kinds, and a
// node whose name tries to become part of the page.
func differences(t *testing.T) string {
	t.Helper()
	nodes, others := dumptest.Open(t, dumptest.Geneve), dumptest.Open(t, dumptest.Hardened)
	reports, err := nodediff.CompareAll(nodes, others, nodediff.Options{})
	if err != nil {
		t.Fatal(err)
	}
	listings, err := nodediff.Listings(nodes, topologies.Article())
	if err != nil {
		t.Fatal(err)
	}
	lessThere := others[0]
	lessThere.Host.Rules = lessThere.Host.Rules[:2]
	lessThere.Ztunnel.Links = nil
	plan, err := nodediff.Plan(lessThere, nodediff.Options{})
	if err != nil {
		t.Fatal(err)
	}
	plan.Node = `"><script>window.harmed=1</script><img src=x onerror="window.harmed=1">`
	var b strings.Builder
	if err := nodediff.HTML(&b, append(append(reports, listings...), plan)); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

// TestDiffPage opens the page of differences in a real browser: it can be read on every
// screen and in the dark, and used with the keyboard alone.
func TestDiffPage(t *testing.T) {
	b := page.Open(t, page.Start(t), differences(t), "h1")
	if page.Eval[bool](b, `return "harmed" in window || document.querySelectorAll("img, iframe, main script").length > 0`) {
		t.Error("a text became part of the page")
	}
	const shown = `return Array.from(document.querySelectorAll(".finding")).filter((e) => e.getClientRects().length).length`
	few, all := page.Eval[int](b, shown), page.Eval[int](b, `return document.querySelectorAll(".finding").length`)
	if few == 0 || few == all {
		t.Errorf("%d of %d findings can be seen at first", few, all)
	}
	b.Press(kb.Tab)
	if outline := page.Eval[string](b, `const s = getComputedStyle(document.activeElement); return document.activeElement.id + " " + s.outlineStyle + " " + s.outlineWidth`); outline != "all solid 3px" {
		t.Errorf("what has the focus: %q", outline)
	}
	b.Press(" ")
	if n := page.Eval[int](b, shown); n != all {
		t.Errorf("the space bar shows %d of %d findings", n, all)
	}
	b.Press(kb.Tab, kb.Enter)
	if !page.Eval[bool](b, `return document.activeElement.parentElement.open === true`) {
		t.Error("the signs do not open by the keyboard")
	}
	for _, width := range []int64{320, 768, 1280} {
		b.Screen(width, 800, "light")
		if over := page.Eval[int](b, `return document.documentElement.scrollWidth - document.documentElement.clientWidth`); over > 0 {
			t.Errorf("at %d the page is %d too wide", width, over)
		}
		if small := page.Eval[[]string](b, page.SmallText); len(small) > 0 {
			t.Errorf("at %d too small to read: %q", width, small)
		}
	}
	for _, scheme := range []string{"light", "dark"} {
		b.Screen(1280, 800, scheme)
		for _, w := range page.Eval[[]string](b, page.Contrast) {
			t.Errorf("%s: %s", scheme, w)
		}
	}
	b.Quiet()
}
