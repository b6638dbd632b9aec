// SPDX-License-Identifier: Apache-2.0

package page

import (
	"encoding/json"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/ambient22/ambient22/internal/trace/story"
)

// read is a story from testdata.
func read(tb testing.TB, file string) *story.Story {
	tb.Helper()
	b, err := os.ReadFile("testdata/" + file)
	if err != nil {
		tb.Fatal(err)
	}
	var s story.Story
	if err := json.Unmarshal(b, &s); err != nil {
		tb.Fatalf("%s: %v", file, err)
	}
	return &s
}

func render(tb testing.TB, s *story.Story) string {
	tb.Helper()
	var b strings.Builder
	if err := Trace(&b, s); err != nil {
		tb.Fatal(err)
	}
	return b.String()
}

func count(s *story.Story) int {
	n := 0
	for _, l := range s.Legs {
		n += len(l.Stops)
	}
	return n
}

// hostile is a story in which every text that a dump can bring in tries to become
// part of the page.
func hostile() *story.Story {
	const (
		tag    = `"><script>window.harmed=1</script><img src=x onerror="window.harmed=1">`
		close  = `</script></style></title><!--`
		scheme = `javascript:window.harmed=1`
	)
	stop := func(id string, p story.Place, kind string) story.Stop {
		return story.Stop{ID: id, Place: p, Kind: kind, Matched: true, Decisive: true, Text: tag + close, Why: close + tag, Line: tag + "'" + close,
			File: scheme, LineNo: 1, Mark: tag, MarkAfter: close, Connmark: tag, ConnmarkAfter: close}
	}
	host := story.Place{Node: tag, Space: "host", Hook: tag, Table: close, Chain: tag, Device: tag}
	return &story.Story{
		Version: 1, Source: tag, From: story.End{Name: tag, Address: close}, To: story.End{Name: close, Address: tag},
		Outcome: story.Outcome{Sentence: tag}, Doubts: []string{close},
		Miss: &story.Miss{Sentence: tag, Stop: scheme, Remedy: close},
		Legs: []story.Leg{{ID: "1", Title: tag, Packet: close, Stops: []story.Stop{
			stop("1.1", story.Place{Node: tag, Space: "pod", Pod: "a/" + tag}, "route"),
			stop("1.2", host, "rule"),
			stop("1.3", story.Place{Node: tag, Space: "host", Device: tag}, "tunnel"),
			stop("1.4", story.Place{Node: tag, Space: "ztunnel", Pod: close, Table: "proxy"}, "listener"),
			stop("1.5", story.Place{Space: "link", Device: tag}, "device"),
			stop("1.6", story.Place{Node: close, Space: tag}, close),
		}}},
	}
}

// The hostile story's texts are in the page, but only in their escaped form.
func TestEscaped(t *testing.T) {
	html := render(t, hostile())
	for _, bad := range []string{"<script>window.harmed", "<img", "</title><!--", `href="javascript:`} {
		if strings.Contains(html, bad) {
			t.Errorf("%q is in the page", bad)
		}
	}
	if n := strings.Count(html, "<script>"); n != 1 {
		t.Errorf("%d scripts", n)
	}
}

// The page needs nothing from elsewhere and lets nothing else run.
func TestSelfContained(t *testing.T) {
	html := render(t, read(t, "article.json"))
	for _, bad := range []string{"http://", "https://", "//cdn", "@import", "url(", " style=", "onclick"} {
		if strings.Contains(html, bad) {
			t.Errorf("%q is in the page", bad)
		}
	}
	for _, want := range []string{`http-equiv="Content-Security-Policy"`, "default-src &#39;none&#39;", "script-src &#39;sha256-", "<main", "<nav", `aria-live="polite"`, `lang="en"`} {
		if !strings.Contains(html, want) {
			t.Errorf("%q is missing", want)
		}
	}
}

// An empty story, and one of a single leg, are pages, too.
func TestSmall(t *testing.T) {
	for _, s := range []*story.Story{{}, {Legs: []story.Leg{{ID: "1"}}}} {
		if html := render(t, s); !strings.Contains(html, "0 steps") {
			t.Error(html)
		}
	}
}

// What a story is not certain of, and when it happened, is on the page.
func TestTimesAndDoubts(t *testing.T) {
	at := time.Date(2022, 9, 1, 12, 0, 0, 5e6, time.UTC)
	html := render(t, &story.Story{
		Source: "live", Outcome: story.Outcome{Unknown: true, Sentence: "It is lost."},
		Remarks: []string{"one remark"}, Doubts: []string{"one doubt"}, Miss: &story.Miss{Unknown: true, Sentence: "Who knows."},
		Timeline: []story.Moment{
			{At: at, Node: "a", Space: "host", Text: "it comes in"},
			{At: at.Add(1234567), Node: "a", Space: "ztunnel", Heard: true, Text: "it is noted"},
		},
	})
	for _, want := range []string{
		"<strong>How it ends is not known.</strong> It is lost.", "<strong>Captured or not?</strong> Who knows.",
		"Odd: one remark", "Not certain: one doubt", "Told by the running kernel.",
		"2 moments in 1.234 ms, from 2022-09-01 12:00:00.005 UTC",
		`<span class="time">&#43;   0.000 ms</span> <span class="quiet">a host:</span> it comes in`,
		`<span class="time">~   1.234 ms</span> <span class="quiet">a ztunnel:</span> it is noted`,
	} {
		if !strings.Contains(html, want) {
			t.Errorf("%q is missing", want)
		}
	}
}

// A chain with thousands of rules does not make a page that no browser can show.
func TestLongChain(t *testing.T) {
	s := &story.Story{Legs: []story.Leg{{ID: "1"}}}
	for i := range 50_000 {
		s.Legs[0].Stops = append(s.Legs[0].Stops, story.Stop{ID: fmt.Sprintf("1.%d", i+1), Kind: "rule", Place: story.Place{Node: "a", Space: "host", Hook: "PREROUTING"}})
	}
	s.Legs[0].Stops[20_000].Matched = true
	s.Legs[0].Stops[30_000].Decisive = true
	s.Miss = &story.Miss{Stop: "1.40001"}
	html := render(t, s)
	if n, want := strings.Count(html, "<li "), 3+4*(runLength+1); n != want {
		t.Errorf("%d steps, want %d", n, want)
	}
	for _, want := range []string{"19900 more steps that did not match, up to 1.19950, are left out", `data-id="1.20001"`, `data-id="1.30001"`, `data-id="1.40001"`, `data-id="1.50000"`} {
		if !strings.Contains(html, want) {
			t.Errorf("%q is missing", want)
		}
	}
	if len(s.Legs[0].Stops) != 50_000 {
		t.Error("the story itself was changed")
	}
}
