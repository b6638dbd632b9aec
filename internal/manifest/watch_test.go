// SPDX-License-Identifier: Apache-2.0

package manifest_test

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/ambient22/ambient22/internal/manifest"
	"github.com/ambient22/ambient22/internal/mesh"
)

// patience is how long a test waits for what must come.
const patience = 20 * time.Second

type outcome struct {
	pods []string
	err  error
}

// watch follows a folder for the length of the test.
func watch(t *testing.T, dir string) <-chan outcome {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	outcomes := make(chan outcome, 100)
	ended := make(chan error, 1)
	go func() {
		ended <- manifest.Watch(ctx, dir, manifest.Options{}, func(s *mesh.Snapshot, err error) {
			o := outcome{err: err}
			if s != nil {
				for _, w := range s.Workloads {
					o.pods = append(o.pods, w.Name)
				}
			}
			outcomes <- o
		})
	}()
	t.Cleanup(func() {
		cancel()
		if err := <-ended; err != nil {
			t.Errorf("watching ended with %v", err)
		}
	})
	return outcomes
}

// until waits for an outcome; others, such as half a change, may come before it.
func until(t *testing.T, outcomes <-chan outcome, what string, want func(outcome) bool) {
	t.Helper()
	timeout := time.After(patience)
	var last outcome
	for {
		select {
		case last = <-outcomes:
			if want(last) {
				return
			}
		case <-timeout:
			t.Fatalf("waiting for %s: the last outcome was %+v", what, last)
		}
	}
}

// pods wants a good snapshot with exactly these pods.
func pods(names ...string) func(outcome) bool {
	return func(o outcome) bool { return o.err == nil && strings.Join(o.pods, " ") == strings.Join(names, " ") }
}

func fault(text string) func(outcome) bool {
	return func(o outcome) bool { return o.err != nil && strings.Contains(o.err.Error(), text) }
}

func podText(name string, lastByte int) string {
	return fmt.Sprintf(`apiVersion: v1
kind: Pod
metadata: {name: %s, namespace: default, uid: uid-of-%s}
spec: {nodeName: node-a, containers: [{name: app}]}
status: {phase: Running, podIP: 10.4.4.%d}
`, name, name, lastByte)
}

func write(t *testing.T, path, text string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
}

func rename(t *testing.T, from, to string) {
	t.Helper()
	if err := os.Rename(from, to); err != nil {
		t.Fatal(err)
	}
}

func symlink(t *testing.T, to, at string) {
	t.Helper()
	if err := os.Symlink(to, at); err != nil {
		t.Fatal(err)
	}
}

func remove(t *testing.T, path string) {
	t.Helper()
	if err := os.RemoveAll(path); err != nil {
		t.Fatal(err)
	}
}

// folderWithBase is a folder with a node, a namespace and the pod sleep.
func folderWithBase(t *testing.T, dir string) string {
	t.Helper()
	if err := os.MkdirAll(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	copyFile(t, "testdata/broken/base.yaml", filepath.Join(dir, "base.yaml"))
	return dir
}

func TestWatchFiles(t *testing.T) {
	dir := folderWithBase(t, t.TempDir())
	outcomes := watch(t, dir)
	until(t, outcomes, "the first snapshot", pods("sleep"))

	write(t, filepath.Join(dir, "api.yaml"), podText("api", 1))
	until(t, outcomes, "a new file", pods("api", "sleep"))

	write(t, filepath.Join(dir, "api.yaml"), podText("web", 2))
	until(t, outcomes, "a file written anew", pods("sleep", "web"))

	next := filepath.Join(t.TempDir(), "next")
	write(t, next, podText("db", 3))
	rename(t, next, filepath.Join(dir, "api.yaml"))
	until(t, outcomes, "a file replaced by renaming", pods("db", "sleep"))

	write(t, filepath.Join(dir, "team", "shop", "cart.yml"), podText("cart", 4))
	until(t, outcomes, "a file in new subfolders", pods("cart", "db", "sleep"))

	write(t, filepath.Join(dir, "team", "shop", "cart.yml"), podText("basket", 4))
	until(t, outcomes, "a change in a subfolder", pods("basket", "db", "sleep"))

	remove(t, filepath.Join(dir, "team"))
	until(t, outcomes, "a removed subfolder", pods("db", "sleep"))

	write(t, filepath.Join(dir, "team", "shop", "cart.yml"), podText("cart", 4))
	until(t, outcomes, "the subfolder again", pods("cart", "db", "sleep"))

	remove(t, filepath.Join(dir, "api.yaml"))
	until(t, outcomes, "a removed file", pods("cart", "sleep"))
}

// TestWatchErrors breaks a folder and mends it.
func TestWatchErrors(t *testing.T) {
	dir := folderWithBase(t, t.TempDir())
	outcomes := watch(t, dir)
	until(t, outcomes, "the first snapshot", pods("sleep"))

	write(t, filepath.Join(dir, "api.yaml"), podText("api", 300))
	until(t, outcomes, "a broken file", fault(`Pod default/api: status.podIP: "10.4.4.300" is not an IP address`))

	write(t, filepath.Join(dir, "api.yaml"), podText("api", 30))
	until(t, outcomes, "the file mended", pods("api", "sleep"))

	symlink(t, "nowhere.yaml", filepath.Join(dir, "link.yaml"))
	until(t, outcomes, "a link to nothing", fault("link.yaml"))

	remove(t, filepath.Join(dir, "link.yaml"))
	until(t, outcomes, "the link removed", pods("api", "sleep"))
}

// TestWatchConfigMap changes a folder the way the kubelet changes a ConfigMap
// volume: a new hidden folder, and one link swapped.
func TestWatchConfigMap(t *testing.T) {
	dir := t.TempDir()
	publish := func(version, extra string) {
		t.Helper()
		real := filepath.Join(dir, "..2022_11_08_"+version)
		folderWithBase(t, real)
		write(t, filepath.Join(real, "extra.yaml"), extra)
		symlink(t, filepath.Base(real), filepath.Join(dir, "..data_tmp"))
		rename(t, filepath.Join(dir, "..data_tmp"), filepath.Join(dir, "..data"))
	}
	publish("1", podText("api", 1))
	for _, name := range []string{"base.yaml", "extra.yaml"} {
		symlink(t, filepath.Join("..data", name), filepath.Join(dir, name))
	}
	outcomes := watch(t, dir)
	until(t, outcomes, "the first version", pods("api", "sleep"))
	publish("2", podText("web", 2))
	until(t, outcomes, "the second version", pods("sleep", "web"))
	remove(t, filepath.Join(dir, "..2022_11_08_1"))
	publish("3", podText("db", 3))
	until(t, outcomes, "the third version", pods("db", "sleep"))
}

// TestWatchFolderReplaced swaps the whole folder, itself and as a link.
func TestWatchFolderReplaced(t *testing.T) {
	above := t.TempDir()
	dir := folderWithBase(t, filepath.Join(above, "manifests"))
	outcomes := watch(t, dir)
	until(t, outcomes, "the first folder", pods("sleep"))

	rename(t, dir, filepath.Join(above, "old"))
	until(t, outcomes, "no folder", fault("finding folder"))

	second := folderWithBase(t, filepath.Join(above, "second"))
	write(t, filepath.Join(second, "api.yaml"), podText("api", 1))
	rename(t, second, dir)
	until(t, outcomes, "the second folder", pods("api", "sleep"))

	write(t, filepath.Join(dir, "web.yaml"), podText("web", 2))
	until(t, outcomes, "a change in the second folder", pods("api", "sleep", "web"))

	remove(t, dir)
	symlink(t, "old", dir)
	until(t, outcomes, "a link to the first folder", pods("sleep"))

	write(t, filepath.Join(above, "old", "db.yaml"), podText("db", 3))
	until(t, outcomes, "a change behind the link", pods("db", "sleep"))
}

// TestWatchLinkedFile follows a link to a file in another folder, as secrets
// managers and Nix lay them out.
func TestWatchLinkedFile(t *testing.T) {
	elsewhere := t.TempDir()
	write(t, filepath.Join(elsewhere, "api.yaml"), podText("api", 1))
	dir := folderWithBase(t, t.TempDir())
	symlink(t, filepath.Join(elsewhere, "api.yaml"), filepath.Join(dir, "api.yaml"))
	outcomes := watch(t, dir)
	until(t, outcomes, "the linked file", pods("api", "sleep"))
	write(t, filepath.Join(elsewhere, "api.yaml"), podText("web", 2))
	until(t, outcomes, "a change of the linked file", pods("sleep", "web"))
}

// TestWatchSameText wants no second delivery for a file that is only touched.
func TestWatchSameText(t *testing.T) {
	dir := folderWithBase(t, t.TempDir())
	outcomes := watch(t, dir)
	until(t, outcomes, "the first snapshot", pods("sleep"))
	copyFile(t, "testdata/broken/base.yaml", filepath.Join(dir, "again"))
	rename(t, filepath.Join(dir, "again"), filepath.Join(dir, "base.yaml"))
	write(t, filepath.Join(dir, "notes.txt"), "no manifest")
	write(t, filepath.Join(dir, "next"), podText("api", 1))
	rename(t, filepath.Join(dir, "next"), filepath.Join(dir, "api.yaml"))
	// The one change that counts must be the next delivery.
	select {
	case o := <-outcomes:
		if !pods("api", "sleep")(o) {
			t.Errorf("an unchanged folder was delivered: %+v", o)
		}
	case <-time.After(patience):
		t.Error("the change was not delivered")
	}
}

// TestWatchManyChanges writes faster than the watcher reads; the last state wins.
func TestWatchManyChanges(t *testing.T) {
	dir := folderWithBase(t, t.TempDir())
	outcomes := watch(t, dir)
	for i := range 200 {
		write(t, filepath.Join(dir, fmt.Sprintf("p%d.yaml", i%10)), podText(fmt.Sprintf("p%d-%d", i%10, i), 100+i%10))
	}
	var want []string
	for i := range 10 {
		want = append(want, fmt.Sprintf("p%d-%d", i, 190+i))
	}
	until(t, outcomes, "the last state", pods(append(want, "sleep")...))
}
