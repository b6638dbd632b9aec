// SPDX-License-Identifier: Apache-2.0

package dump_test

import (
	"archive/tar"
	"bytes"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/ambient22/ambient22/internal/dump"
)

func small(node string) *dump.Archive {
	a := &dump.Archive{Header: dump.Header{Node: node, Taken: time.Date(2022, 11, 11, 7, 10, 40, 0, time.UTC), Tool: "test"}}
	a.Add(dump.HostSpace, dump.KindRules, someRules, "")
	a.Add(dump.HostSpace, dump.KindSets, "", "")
	a.Add("default/sleep", dump.KindRules, someRules, "")
	a.Gap(dump.HostSpace, dump.KindConns, "not installed")
	a.Gap(dump.ZtunnelSpace, "", "no device leads to it")
	return a
}

func TestAbsenceIsNotEmptiness(t *testing.T) {
	n, err := small("n").Parse()
	if err != nil {
		t.Fatal(err)
	}
	h := n.Host
	if h.Missing[dump.KindConns] != "not installed" || h.Missing[dump.KindRoutes] != "not in this dump" {
		t.Errorf("missing: %v", h.Missing)
	}
	if _, missing := h.Missing[dump.KindSets]; missing {
		t.Error("an empty text counts as missing")
	}
	want := []string{"host: conntrack: not installed", "ztunnel: no device leads to it"}
	if !slices.Equal(n.Gaps, want) || n.Ztunnel != nil {
		t.Errorf("gaps: %q", n.Gaps)
	}
}

func TestSeveralNodesInOneArchive(t *testing.T) {
	for _, name := range []string{"all.tar.gz", "all"} {
		path := filepath.Join(t.TempDir(), name)
		if err := dump.WriteTo(path, small("n1"), small("n2")); err != nil {
			t.Fatal(err)
		}
		nodes, err := dump.OpenAll(path)
		if err != nil {
			t.Fatal(err)
		}
		if len(nodes) != 2 || nodes[0].Name != "n1" || nodes[1].Name != "n2" || len(nodes[1].Pods) != 1 {
			t.Errorf("%s: %+v", name, nodes)
		}
		if _, err := dump.Open(path); err == nil {
			t.Errorf("%s: two nodes pass for one", name)
		}
	}
	// Archives of single nodes side by side are the same.
	dir := t.TempDir()
	for _, node := range []string{"n1", "n2"} {
		if err := dump.WriteTo(filepath.Join(dir, node+dump.Suffix), small(node)); err != nil {
			t.Fatal(err)
		}
	}
	if nodes, err := dump.OpenAll(dir); err != nil || len(nodes) != 2 {
		t.Errorf("%v, %v", nodes, err)
	}
}

func TestWhatIsWrittenIsForItsOwnerOnly(t *testing.T) {
	dir := t.TempDir()
	for _, name := range []string{"a.tar.gz", "folder", "new/folder"} {
		if err := dump.WriteTo(filepath.Join(dir, name), small("n")); err != nil {
			t.Fatal(err)
		}
	}
	err := filepath.WalkDir(dir, func(path string, entry fs.DirEntry, err error) error {
		info, infoErr := entry.Info()
		if err != nil || infoErr != nil || path == dir {
			return err
		}
		if info.Mode().Perm()&0o077 != 0 {
			t.Errorf("%s has mode %v", path, info.Mode())
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

func TestNothingIsLeftWhereWritingFails(t *testing.T) {
	dir := t.TempDir()
	taken := filepath.Join(dir, "taken")
	if err := os.MkdirAll(filepath.Join(taken, "inside"), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := dump.WriteTo(taken, small("n")); err == nil {
		t.Error("a folder with something in it was replaced")
	}
	if err := dump.WriteTo(filepath.Join(dir, "missing", "a.tar.gz"), small("n")); err == nil {
		t.Error("a file in no folder was written")
	}
	if err := dump.WriteTo(filepath.Join(dir, "a.zip"), small("n")); err == nil {
		t.Error("a folder was called a.zip")
	}
	entries, err := os.ReadDir(dir)
	if err != nil || len(entries) != 1 {
		t.Errorf("left behind: %v, %v", entries, err)
	}
}

func TestWhatIsLostOnTheWayIsAGap(t *testing.T) {
	var packed bytes.Buffer
	a := small("n")
	// What gzip can't make small, so that the cut goes through it.
	noise := strings.Builder{}
	for i := range 20000 {
		noise.WriteString("net.test.k" + strings.Repeat(string(rune('a'+i*7919%26)), 1+i*104729%5) + " = " + time.Duration(i*i*7919).String() + "\n")
	}
	a.Add(dump.HostSpace, dump.KindSysctls, noise.String(), "")
	if err := dump.Write(&packed, a); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "cut.tar.gz")
	if err := os.WriteFile(path, packed.Bytes()[:packed.Len()/2], 0o600); err != nil {
		t.Fatal(err)
	}
	n, err := dump.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	if len(n.Host.Rules) != 2 || n.Host.Sysctls != nil || n.Host.Missing[dump.KindSysctls] == "" || !strings.Contains(strings.Join(n.Gaps, "\n"), "ends too early") {
		t.Errorf("%+v\n%q", n.Host.Missing, n.Gaps)
	}
}

func TestATextThatWasCutOffIsPartial(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "d")
	if err := dump.WriteTo(dir, small("n")); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(dir, "host", "ip-rule.txt")
	if err := os.WriteFile(path, []byte(someRules[:len(someRules)-10]), 0o600); err != nil {
		t.Fatal(err)
	}
	n, err := dump.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	if len(n.Host.Rules) != 1 || n.Host.Partial[dump.KindRules] == "" {
		t.Errorf("%d rules, %v", len(n.Host.Rules), n.Host.Partial)
	}
}

// TestOnly: a ztunnel's pod does not tell what the node's rules are.
func TestOnly(t *testing.T) {
	a := small("n")
	a.Add(dump.ZtunnelSpace, dump.KindRules, someRules, "")
	if err := a.AddWorkloads(&dump.Workloads{}); err != nil {
		t.Fatal(err)
	}
	a.Only(dump.ZtunnelSpace)
	if len(a.Files) != 1 || a.Files[0].Name != "ztunnel/ip-rule.txt" {
		t.Errorf("the files are %+v", a.Files)
	}
	a = small("n")
	if err := a.AddWorkloads(&dump.Workloads{}); err != nil {
		t.Fatal(err)
	}
	a.Only(dump.HostSpace)
	if len(a.Files) != 3 {
		t.Errorf("the files are %+v", a.Files)
	}
}

// TestHostileNames: what somebody else's program sent is written below the folder that
// was named, and nowhere else; and of two texts with one name the last counts, as for tar.
func TestHostileNames(t *testing.T) {
	const header = `{"version": 1, "node": "../../n", "taken": "2026-01-01T00:00:00Z", "files": [{"name": "../../out.txt", "bytes": 1}, {"name": "/out.txt", "bytes": 1}]}`
	var packed bytes.Buffer
	out := tar.NewWriter(&packed)
	for _, f := range [][2]string{
		{"dump.json", `{"version": 7}`}, {"host/ip-rule.txt", "9:\tfrom all lookup 9\n"}, {"../../out.txt", "x"}, {"host/../../../out.txt", "x"}, {"/out.txt", "x"},
		{"dump.json", header}, {"host/ip-rule.txt", "0:\tfrom all lookup local\n"},
	} {
		if err := out.WriteHeader(&tar.Header{Typeflag: tar.TypeReg, Name: f[0], Size: int64(len(f[1])), Mode: 0o600}); err != nil {
			t.Fatal(err)
		}
		if _, err := io.WriteString(out, f[1]); err != nil {
			t.Fatal(err)
		}
	}
	if err := out.Close(); err != nil {
		t.Fatal(err)
	}
	archives, err := dump.LoadFrom(&packed)
	if err != nil || len(archives) != 1 {
		t.Fatalf("%d archives, %v", len(archives), err)
	}
	a := archives[0]
	if f, _ := a.File("host/ip-rule.txt"); len(a.Files) != 1 || !strings.HasPrefix(f.Text, "0:") {
		t.Fatalf("the files are %+v", a.Files)
	}
	dir := filepath.Join(t.TempDir(), "a", "b", "dump")
	if err := dump.WriteTo(dir, a, a); err != nil {
		t.Fatal(err)
	}
	for _, folder := range []string{".._.._n", ".._.._n-2"} {
		if _, err := os.Stat(filepath.Join(dir, folder, "host", "ip-rule.txt")); err != nil {
			t.Error(err)
		}
	}
	if beside, err := os.ReadDir(filepath.Dir(dir)); err != nil || len(beside) != 1 {
		t.Errorf("beside the folder there is %v, %v", beside, err)
	}
}
