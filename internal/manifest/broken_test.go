// SPDX-License-Identifier: Apache-2.0

package manifest_test

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/ambient22/ambient22/internal/golden"
	"github.com/ambient22/ambient22/internal/kube"
	"github.com/ambient22/ambient22/internal/manifest"
)

// TestBroken shows what a person reads about each kind of broken manifest.
func TestBroken(t *testing.T) {
	cases, err := filepath.Glob("testdata/broken/*.yaml")
	if err != nil {
		t.Fatal(err)
	}
	for _, broken := range cases {
		name := strings.TrimSuffix(filepath.Base(broken), ".yaml")
		if name == "base" {
			continue
		}
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			copyFile(t, "testdata/broken/base.yaml", filepath.Join(dir, "base.yaml"))
			copyFile(t, broken, filepath.Join(dir, name+".yaml"))
			s, err := manifest.Load(dir, manifest.Options{Node: "node-a"})
			if err == nil || s != nil {
				t.Fatalf("it loaded: %v, error %v", s, err)
			}
			golden.Check(t, strings.TrimSuffix(broken, ".yaml")+".txt", strings.ReplaceAll(err.Error(), dir, "DIR")+"\n")
		})
	}
}

// TestBrokenFolder covers what is wrong without being in a file.
func TestBrokenFolder(t *testing.T) {
	empty := t.TempDir()
	for name, c := range map[string]struct{ dir, node, want string }{
		"no folder":     {filepath.Join(empty, "absent"), "", "finding folder"},
		"no manifests":  {empty, "", "has no .yaml, .yml or .json file"},
		"no such node":  {"testdata/two-pods", "node-x", "Node node-x: metadata.name: there is no Node of the name this was started for; there are: " + nodeB + ", " + nodeA},
		"dangling link": {dangling(t), "", "lost.yaml"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := manifest.Load(c.dir, manifest.Options{Node: c.node})
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("the error is %v, without %q", err, c.want)
			}
		})
	}
}

// A document that can't be read is blamed alone, not for what it may have held.
func TestUnreadableDocumentIsBlamedAlone(t *testing.T) {
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "nodes.yaml"), []byte("{{{\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	_, err := manifest.Load(dir, manifest.Options{Node: "node-a"})
	if err == nil || !strings.Contains(err.Error(), "1 fault,") || !strings.Contains(err.Error(), "nodes.yaml:1: this is not YAML") {
		t.Errorf("the error is %v", err)
	}
}

// TestErrorTypes is for callers that want to know more than the text.
func TestErrorTypes(t *testing.T) {
	dir := t.TempDir()
	copyFile(t, "testdata/broken/base.yaml", filepath.Join(dir, "base.yaml"))
	copyFile(t, "testdata/broken/bad-ip.yaml", filepath.Join(dir, "bad-ip.yaml"))
	_, err := manifest.Load(dir, manifest.Options{})
	var fault *manifest.Error
	var problem kube.Problem
	if !errors.As(err, &fault) || !errors.As(err, &problem) {
		t.Fatalf("neither a fault nor a problem: %v", err)
	}
	if fault.File != filepath.Join(dir, "bad-ip.yaml") || fault.Line != 1 || problem.Field != "status.podIP" {
		t.Errorf("fault %+v, problem %+v", fault, problem)
	}
}

func dangling(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	if err := os.Symlink("nowhere.yaml", filepath.Join(dir, "lost.yaml")); err != nil {
		t.Fatal(err)
	}
	return dir
}

func copyFile(t *testing.T, from, to string) {
	t.Helper()
	data, err := os.ReadFile(from)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(to, data, 0o644); err != nil {
		t.Fatal(err)
	}
}
