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
	"github.com/ambient22/ambient22/internal/nodediff"
)

// diffed runs diff and returns its exit code and what it printed.
func diffed(t *testing.T, args ...string) (code int, out, said string) {
	t.Helper()
	var stdout, stderr bytes.Buffer
	code = run(t.Context(), append([]string{"diff"}, args...), strings.NewReader(""), &stdout, &stderr)
	return code, stdout.String(), stderr.String()
}

// illDump is node A of the lab with one rule changed and one route gone.
func illDump(t *testing.T) string {
	t.Helper()
	folder := t.TempDir()
	if err := os.CopyFS(folder, os.DirFS(dumptest.Path(t, dumptest.VXLAN+"/node-a"))); err != nil {
		t.Fatal(err)
	}
	edit := func(name, old, new string) {
		path := filepath.Join(folder, "host", name)
		text, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		if !strings.Contains(string(text), old) {
			t.Fatalf("%s has no %q", name, old)
		}
		if err := os.WriteFile(path, []byte(strings.Replace(string(text), old, new, 1)), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	edit("iptables-legacy-save.txt", "-i istioin -j MARK --set-xmark 0x200/0x200", "-i istioin -j MARK --set-xmark 0x200/0xfff")
	edit("ip-route.txt", "default via 192.168.127.2 dev istioout table 101 \n", "")
	return folder
}

// TestDiffExitCodes: 0 equal, 1 differs, 2 nothing could be compared.
func TestDiffExitCodes(t *testing.T) {
	lab, ill := dumptest.Path(t, dumptest.VXLAN), illDump(t)
	empty := filepath.Join(t.TempDir(), "iptables-save.txt")
	if err := os.WriteFile(empty, []byte("*filter\n:INPUT ACCEPT [0:0]\n:FORWARD ACCEPT [0:0]\n:OUTPUT ACCEPT [0:0]\nCOMMIT\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name string
		args []string
		code int
		says string // in what is printed, or said of the trouble
	}{
		{"the plan", []string{lab}, 0, "No difference."},
		{"the listings", []string{lab, "--listings"}, 0, "listing 16"},
		{"itself", []string{lab, lab}, 0, "No difference."},
		{"one node", []string{lab, "--node", "gke-jimmy-cluster-default-pool-d5041909-c1da"}, 0, "10.4.3.14"},
		{"an ill node", []string{ill}, 1, "set-xmark mask: 0x200 → 0xfff"},
		{"the ill node's pod", []string{ill, "--scope", "ztunnel"}, 0, "No difference."},
		{"another ztunnel", []string{lab, "--ztunnel-ip", "10.4.4.99"}, 1, "10.4.4.99"},
		{"another profile", []string{lab, "--profile", "hardened"}, 1, "0x20/0x20"},
		{"nothing of a mesh", []string{empty}, 2, "no generation"},
		{"no file", []string{"/nonexistent"}, 2, "/nonexistent"},
		{"three dumps", []string{lab, lab, lab}, 2, "one dump or two"},
		{"a broken address", []string{lab, "--host-ip", "10.4.4"}, 2, "--host-ip"},
		{"a broken profile", []string{lab, "--profile", "soft"}, 2, "soft"},
		{"an unknown flag", []string{lab, "--bogus"}, 2, "bogus"},
		{"standard input twice", []string{"-", "-"}, 2, "standard input"},
		{"an unknown node", []string{lab, "--node", "nobody"}, 2, "nobody"},
	} {
		t.Run(c.name, func(t *testing.T) {
			code, out, said := diffed(t, c.args...)
			if code != c.code {
				t.Errorf("exit code %d, want %d: %s", code, c.code, said)
			}
			if !strings.Contains(out+said, c.says) {
				t.Errorf("nothing says %q:\n%s%s", c.says, out, said)
			}
			if strings.Contains(out, "\x1b[") {
				t.Error("there are colours in what is no terminal")
			}
		})
	}
}

// TestDiffJSON: programs get the same findings.
func TestDiffJSON(t *testing.T) {
	code, out, said := diffed(t, illDump(t), "--json")
	if code != 1 {
		t.Fatalf("exit code %d: %s", code, said)
	}
	var got struct {
		Version int  `json:"version"`
		Differs bool `json:"differs"`
		Reports []struct {
			nodediff.Report
			Counts map[nodediff.Kind]int `json:"counts"`
		} `json:"reports"`
	}
	if err := json.Unmarshal([]byte(out), &got); err != nil {
		t.Fatal(err)
	}
	if got.Version != 1 || !got.Differs || len(got.Reports) != 1 {
		t.Fatalf("version %d, differs %v, %d reports", got.Version, got.Differs, len(got.Reports))
	}
	r := got.Reports[0]
	if r.Counts[nodediff.Changed] != 1 || r.Counts[nodediff.Missing] != 1 || r.Generations[0].Name != nodediff.Geneve {
		t.Errorf("counts %v, generations %v", r.Counts, r.Generations)
	}
	for _, f := range r.Findings {
		if f.Kind == nodediff.Changed && (len(f.Fields) != 1 || f.Fields[0] != (nodediff.Field{Name: "set-xmark mask", Want: "0x200", Have: "0xfff"}) || f.Line == 0 || f.File == "") {
			t.Errorf("changed: %+v", f)
		}
	}
}

// TestDiffPage: the page has every difference and needs nothing from elsewhere.
func TestDiffPage(t *testing.T) {
	page := filepath.Join(t.TempDir(), "diff.html")
	if code, _, said := diffed(t, illDump(t), "--html", page, "--color", "always"); code != 1 {
		t.Fatalf("exit code %d: %s", code, said)
	}
	text, err := os.ReadFile(page)
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"They differ.", "set-xmark mask", "default via 192.168.127.2 dev istioout", "kube-proxy"} {
		if !strings.Contains(string(text), want) {
			t.Errorf("the page does not have %q", want)
		}
	}
	for _, not := range []string{"http://", "https://", "src="} {
		if strings.Contains(string(text), not) {
			t.Errorf("the page has %q", not)
		}
	}
}
