// SPDX-License-Identifier: Apache-2.0

package sysctl

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/ambient22/ambient22/internal/dump/syntax"
)

func fixtures(tb testing.TB) map[string]string {
	tb.Helper()
	files, err := filepath.Glob("testdata/*.sysctl")
	if err != nil || len(files) == 0 {
		tb.Fatalf("no fixtures: %v", err)
	}
	texts := map[string]string{}
	for _, f := range files {
		b, err := os.ReadFile(f)
		if err != nil {
			tb.Fatal(err)
		}
		texts[f] = string(b)
	}
	return texts
}

func TestRoundTrip(t *testing.T) {
	for file, text := range fixtures(t) {
		all, err := Parse(file, text)
		if err != nil {
			t.Fatal(err)
		}
		if got := Print(all); got != text {
			t.Errorf("%s is printed as\n%s", file, got)
		}
	}
}

func TestValues(t *testing.T) {
	all, err := Parse("", fixtures(t)["testdata/complaints.sysctl"])
	if err != nil {
		t.Fatal(err)
	}
	m := Map(all)
	for key, want := range map[string]string{
		"net.ipv4.conf.all.rp_filter":    "0",
		"net.ipv4.conf.eth0/5.rp_filter": "2",
		"net.ipv4.tcp_rmem":              "4096\t131072\t6291456",
		"net.core.empty":                 "",
		"kernel.core_pattern":            "|/bin/false a=b",
		"net.ipv4.ip_forward":            "1",
	} {
		if got, ok := m[key]; !ok || got != want {
			t.Errorf("%s is %q, want %q", key, got, want)
		}
	}
	all[0].Value = "1"
	if got := Print(all); !strings.HasPrefix(got, "net.ipv4.conf.all.rp_filter = 1\n") || !strings.Contains(got, "permission denied") {
		t.Errorf("after a change:\n%s", got)
	}
}

func TestErrors(t *testing.T) {
	for text, want := range map[string]string{
		"net.ipv4.ip_forward = 1\nwhat\n": `f:2:5: "=" and a value are expected`,
		"a b = 1\n":                       `f:1:1: "a b" is no sysctl's name`,
	} {
		if _, err := Parse("f", text); err == nil || err.Error() != want {
			t.Errorf("%q: %v, want %s", text, err, want)
		}
	}
}

func FuzzParse(f *testing.F) {
	for _, text := range fixtures(f) {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		all, err := Parse("", text)
		var at *syntax.Error
		switch {
		case errors.As(err, &at):
			if !at.Within(text) {
				t.Fatalf("%v is not in the text", at)
			}
		case len(all) > 0 && Print(all) != text:
			t.Fatalf("printed as %q", Print(all))
		}
	})
}
