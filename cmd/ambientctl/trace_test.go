// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/ambient22/ambient22/internal/dump/dumptest"
	"github.com/ambient22/ambient22/internal/trace/story"
)

// traced runs trace on a fixture.
func traced(t *testing.T, fixture string, args ...string) (code int, stdout, stderr string) {
	t.Helper()
	var out, errs bytes.Buffer
	code = run(t.Context(), append([]string{"trace", dumptest.Path(t, fixture)}, args...), nil, &out, &errs)
	return code, out.String(), errs.String()
}

func TestTraceTellsAStory(t *testing.T) {
	code, out, errs := traced(t, dumptest.Geneve, "--from", "sleep", "--to", "productpage:9080")
	if code != 0 || errs != "" {
		t.Fatalf("exit code %d, %s", code, errs)
	}
	for _, want := range []string{"is captured, goes through an HBONE tunnel from default/sleep", "\n1  sleep-", "\n1-answer  ", "\n3-answer  "} {
		if !strings.Contains(out, want) {
			t.Errorf("it lacks %q:\n%s", want, out)
		}
	}
	if strings.Contains(out, "\x1b") {
		t.Error("a pipe is no terminal, and gets colours")
	}
	if _, coloured, _ := traced(t, dumptest.Geneve, "--from", "sleep", "--to", "productpage:9080", "--color", "always"); !strings.Contains(coloured, "\x1b[1m") {
		t.Error("--color always gives none")
	}
}

// A packet that gets lost is a story, too: the exit code is that of the telling.
func TestTraceOfALostCallSucceeds(t *testing.T) {
	code, out, _ := traced(t, dumptest.Geneve, "--from", "notsleep", "--to", "productpage:9080", "--explain-miss", "--answer=false")
	if code != 0 || !strings.Contains(out, "No policy allows") || !strings.Contains(out, "Was it captured?") || strings.Contains(out, "1-answer") {
		t.Errorf("exit code %d:\n%s", code, out)
	}
}

func TestTraceAsJSONAndPage(t *testing.T) {
	file := filepath.Join(t.TempDir(), "story.html")
	code, out, errs := traced(t, dumptest.Geneve, "--from", "sleep", "--to", "productpage:9080", "--json", "--html", file)
	var s story.Story
	if err := json.Unmarshal([]byte(out), &s); code != 0 || err != nil {
		t.Fatalf("exit code %d, %v, %s", code, err, errs)
	}
	if s.Version != 1 || s.Source != "dump" || !s.Outcome.Delivered || len(s.Legs) != 6 {
		t.Errorf("%d legs, %+v", len(s.Legs), s.Outcome)
	}
	page, err := os.ReadFile(file)
	if err != nil || !bytes.Contains(page, []byte("<!")) || !bytes.Contains(page, []byte("ztunnel-rts54")) {
		t.Errorf("%d bytes of a page, %v", len(page), err)
	}
	code, out, _ = traced(t, dumptest.Geneve, "--from", "sleep", "--to", "productpage:9080", "--html", "-")
	if code != 0 || !strings.HasPrefix(strings.ToLower(strings.TrimSpace(out)), "<!doctype html>") {
		t.Errorf("exit code %d: %.60s", code, out)
	}
}

func TestTraceRefuses(t *testing.T) {
	for _, c := range []struct {
		args []string
		want string
	}{
		{[]string{"--to", "productpage:9080"}, "--from is missing"},
		{[]string{"--from", "sleep"}, "--to is missing"},
		{[]string{"--from", "reviews", "--to", "productpage:9080"}, "--from reviews: it could be any of 3"},
		{[]string{"--from", "sleep", "--to", "productpage:9080", "--protocol", "sctp"}, "--protocol sctp: it is tcp or udp"},
		{[]string{"--from", "sleep", "--to", "productpage:9080", "--color", "blue"}, `--color: "blue"`},
		{[]string{"--from", "sleep", "--to", "productpage:9080", "--json", "--html", "-"}, "both want the standard output"},
		{[]string{"--from", "sleep", "--to", "productpage:9080", "--html", "/no/such/folder/x.html"}, "--html: "},
		{[]string{dumptest.Path(t, dumptest.Geneve), "--from", "sleep", "--to", "productpage:9080"}, "two of the dumps are of node"},
		{[]string{"/no/such/dump", "--from", "sleep", "--to", "productpage:9080"}, "/no/such/dump"},
	} {
		code, out, errs := traced(t, dumptest.Geneve, c.args...)
		if code != 1 || out != "" || !strings.HasPrefix(errs, "ambientctl: ") || !strings.Contains(errs, c.want) {
			t.Errorf("%q: exit code %d, %q, want %q", c.args, code, errs, c.want)
		}
	}
}
