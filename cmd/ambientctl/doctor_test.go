// SPDX-License-Identifier: Apache-2.0

package main

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/ambient22/ambient22/internal/doctor"
	"github.com/ambient22/ambient22/internal/dump/dumptest"
)

// TestDoctorOfDumps: two healthy nodes, one pod of them, and the same as JSON.
func TestDoctorOfDumps(t *testing.T) {
	path := dumptest.Path(t, dumptest.Geneve)
	code, stdout, stderr := ambientctl(t, "", "doctor", "--dump", path)
	if code != 0 || stderr != "" || strings.Count(stdout, "All is well.") != 2 {
		t.Errorf("exit code %d: %s%s", code, stdout, stderr)
	}
	code, stdout, _ = ambientctl(t, "", "doctor", "--dump", path, "productpage", "--color", "always")
	if code != 0 || strings.Count(stdout, "10.4.3.") != 1 || !strings.Contains(stdout, "\x1b[32m") {
		t.Errorf("exit code %d: %s", code, stdout)
	}
	code, stdout, _ = ambientctl(t, "", "doctor", "--json", "--dump", path)
	var reports []doctor.Report
	if err := json.Unmarshal([]byte(stdout), &reports); err != nil || code != 0 || len(reports) != 2 || reports[0].Version != 1 || reports[0].Source != "dump" {
		t.Errorf("exit code %d, %v: %s", code, err, stdout)
	}
}

// TestDoctorOfABrokenNode: the exit code says that something is wrong.
func TestDoctorOfABrokenNode(t *testing.T) {
	dir := t.TempDir()
	if err := os.CopyFS(dir, os.DirFS(dumptest.Path(t, dumptest.Geneve+"/node-a"))); err != nil {
		t.Fatal(err)
	}
	set := filepath.Join(dir, "host", "ipset-save.txt")
	text, err := os.ReadFile(set)
	if err != nil {
		t.Fatal(err)
	}
	var kept []string
	for _, line := range strings.SplitAfter(string(text), "\n") {
		if !strings.Contains(line, " 10.4.4.19 ") {
			kept = append(kept, line)
		}
	}
	if err := os.WriteFile(set, []byte(strings.Join(kept, "")), 0o644); err != nil {
		t.Fatal(err)
	}
	code, stdout, stderr := ambientctl(t, "", "doctor", "--dump", dir, "sleep")
	if code != 1 || stderr != "" || !strings.Contains(stdout, "10.4.4.19 is not in the set ztunnel-pods-ips") {
		t.Errorf("exit code %d: %s%s", code, stdout, stderr)
	}
}

func TestDoctorInTrouble(t *testing.T) {
	path := dumptest.Path(t, dumptest.Geneve)
	for line, want := range map[string]string{
		"nobody --dump " + path:                  "there is no pod nobody; there are:",
		"--dump /nowhere":                        "/nowhere",
		"--dump " + path + " --dump " + path:     "give one",
		"a b":                                    "accepts at most 1 arg",
		"--color blue --dump " + path:            "blue",
		"--tunnel gre --dump " + path:            "--tunnel",
		"--timeout 0s":                           "--timeout must be more than 0",
		"productpage --dump " + path + "/node-a": "runs on node",
	} {
		code, stdout, stderr := ambientctl(t, "", append([]string{"doctor"}, strings.Fields(line)...)...)
		if code != 1 || stdout != "" || !strings.Contains(stderr, want) {
			t.Errorf("%s: exit code %d: %s%s", line, code, stdout, stderr)
		}
	}
}
