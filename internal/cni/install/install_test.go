// SPDX-License-Identifier: Apache-2.0

package install

import (
	"bytes"
	"context"
	"errors"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/containernetworking/cni/libcni"
)

// node is a node's two folders, with a configuration in one.
type node struct {
	*Installer
	t *testing.T
}

func newNode(t *testing.T) *node {
	t.Helper()
	dir := t.TempDir()
	program := filepath.Join(dir, "program")
	n := &node{&Installer{
		Program: program, BinDir: filepath.Join(dir, "bin"), ConfDir: filepath.Join(dir, "net.d"), Kind: "ambient-cni",
		Settings: map[string]string{"socket": "/run/ambient22/cni.sock"}, Versions: []string{"0.3.1", "0.4.0", "1.0.0", "1.1.0"},
	}, t}
	for _, folder := range []string{n.BinDir, n.ConfDir} {
		if err := os.Mkdir(folder, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.WriteFile(program, []byte("the program"), 0o700); err != nil {
		t.Fatal(err)
	}
	return n
}

// network writes a configuration as a network does, and returns it.
func (n *node) network(name string) []byte {
	n.t.Helper()
	text, err := os.ReadFile(filepath.Join("testdata", name))
	if err != nil {
		n.t.Fatal(err)
	}
	n.write(name, text)
	return text
}

func (n *node) write(name string, text []byte) {
	n.t.Helper()
	if err := os.WriteFile(filepath.Join(n.ConfDir, name), text, 0o640); err != nil {
		n.t.Fatal(err)
	}
}

// plugins are the types in the configuration that a container runtime would take, as
// CNI's own library reads it.
func (n *node) plugins() []string {
	n.t.Helper()
	files, err := libcni.ConfFiles(n.ConfDir, []string{".conf", ".conflist", ".json"})
	if err != nil || len(files) == 0 {
		n.t.Fatalf("%v, %v", files, err)
	}
	slices.Sort(files)
	if filepath.Ext(files[0]) != ".conflist" {
		return nil
	}
	l, err := libcni.ConfListFromFile(files[0])
	if err != nil {
		n.t.Fatal(err)
	}
	var kinds []string
	for _, p := range l.Plugins {
		kinds = append(kinds, p.Network.Type)
	}
	return kinds
}

func (n *node) install() []string {
	n.t.Helper()
	done, err := n.Install()
	if err != nil {
		n.t.Fatal(err)
	}
	return done
}

// content is every file of both folders.
func (n *node) content() map[string]string {
	n.t.Helper()
	all := map[string]string{}
	for _, dir := range []string{n.BinDir, n.ConfDir} {
		entries, err := os.ReadDir(dir)
		if err != nil {
			n.t.Fatal(err)
		}
		for _, e := range entries {
			text, err := os.ReadFile(filepath.Join(dir, e.Name()))
			if err != nil {
				n.t.Fatal(err)
			}
			all[e.Name()] = string(text)
		}
	}
	return all
}

func conflists() []string {
	return []string{"10-kindnet.conflist", "10-gke-ptp.conflist", "10-ptp.conflist", "10-calico.conflist", "10-flannel.conflist"}
}

// TestEveryByteComesBack installs into the lists of several networks, and removes.
func TestEveryByteComesBack(t *testing.T) {
	for _, name := range append(conflists(), "10-bridge.conf") {
		t.Run(name, func(t *testing.T) {
			n := newNode(t)
			before := n.network(name)
			if err := n.Ready(); err == nil {
				t.Error("ready before it was installed")
			}
			n.install()
			if kinds := n.plugins(); len(kinds) < 2 || kinds[len(kinds)-1] != "ambient-cni" {
				t.Errorf("plugins %q", kinds)
			}
			if err := n.Ready(); err != nil {
				t.Error(err)
			}
			path := strings.TrimSuffix(name, filepath.Ext(name)) + ".conflist"
			info, err := os.Stat(filepath.Join(n.ConfDir, path))
			if err != nil || info.Mode().Perm() != 0o640 {
				t.Errorf("%v, %v", info, err)
			}
			if filepath.Ext(name) == ".conflist" {
				now, rest := n.content()[name], string(before)
				entry, _ := n.entry()
				if strings.Count(now, entry) != 1 || len(now) > len(rest)+len(entry)+10 {
					t.Errorf("more was changed than had to be:\n%s", now)
				}
			}
			if done := n.install(); len(done) > 0 {
				t.Errorf("a second install did %q", done)
			}
			done, err := n.Remove()
			if err != nil || len(done) != 2 {
				t.Errorf("%q, %v", done, err)
			}
			if got := n.content(); len(got) != 1 || got[name] != string(before) {
				t.Errorf("left: %q", got)
			}
			if done, err := n.Remove(); err != nil || len(done) > 0 {
				t.Errorf("a second remove: %q, %v", done, err)
			}
		})
	}
}

// TestOthersChangesStay has the owner change its file after the plugin was added.
func TestOthersChangesStay(t *testing.T) {
	for _, name := range append(conflists(), "10-bridge.conf") {
		t.Run(name, func(t *testing.T) {
			n := newNode(t)
			n.network(name)
			n.install()
			path := strings.TrimSuffix(name, filepath.Ext(name)) + ".conflist"
			text := strings.Replace(n.content()[path], `"ptp"`, `"other"`, 1)
			end := strings.LastIndexByte(text, ']')
			text = text[:end] + `,{"type":"tuning"}` + text[end:]
			n.write(path, []byte(text))
			if done := n.install(); len(done) > 0 {
				t.Errorf("did %q though the entry was there", done)
			}
			if _, err := n.Remove(); err != nil {
				t.Fatal(err)
			}
			l, err := parseList([]byte(text))
			if err != nil {
				t.Fatal(err)
			}
			want := string(l.without(l.entries("ambient-cni")[0]))
			if got := n.content(); len(got) != 1 || got[path] != want || !strings.Contains(want, "tuning") || strings.Contains(want, "ambient-cni") {
				t.Errorf("left: %q", got)
			}
		})
	}
}

// TestTheFirstListCounts has another network's file come first later on.
func TestTheFirstListCounts(t *testing.T) {
	n := newNode(t)
	before := n.network("10-kindnet.conflist")
	n.install()
	n.write("05-other.conflist", []byte(`{"cniVersion":"1.0.0","name":"other","plugins":[{"type":"other"}]}`))
	if err := n.Ready(); err == nil {
		t.Error("ready, though another file counts now")
	}
	n.install()
	if got := n.plugins(); !slices.Equal(got, []string{"other", "ambient-cni"}) {
		t.Errorf("plugins %q", got)
	}
	if n.content()["10-kindnet.conflist"] != string(before) {
		t.Error("the file that no longer counts is not as it was")
	}
}

// TestSettingsThatChanged replaces the entry.
func TestSettingsThatChanged(t *testing.T) {
	n := newNode(t)
	before := n.network("10-calico.conflist")
	n.install()
	n.Settings = map[string]string{"socket": "/elsewhere"}
	n.install()
	if got := n.content()["10-calico.conflist"]; strings.Count(got, "ambient-cni") != 1 || !strings.Contains(got, "/elsewhere") {
		t.Errorf("left: %s", got)
	}
	if err := os.WriteFile(n.Program, []byte("a newer program"), 0o700); err != nil {
		t.Fatal(err)
	}
	if done := n.install(); len(done) != 1 || n.content()["ambient-cni"] != "a newer program" {
		t.Errorf("did %q", done)
	}
	if _, err := n.Remove(); err != nil || n.content()["10-calico.conflist"] != string(before) {
		t.Errorf("%v, %q", err, n.content())
	}
}

// TestALoneFileThatIsWrittenAgain has the network write the file that a list was made of.
func TestALoneFileThatIsWrittenAgain(t *testing.T) {
	n := newNode(t)
	text := n.network("10-bridge.conf")
	n.install()
	newer := bytes.Replace(text, []byte("10.22"), []byte("10.23"), 1)
	n.write("10-bridge.conf", newer)
	n.install()
	if got := n.content()["10-bridge.conflist"]; !strings.Contains(got, "10.23") || strings.Contains(got, "10.22") {
		t.Errorf("the list: %s", got)
	}
	if _, err := n.Remove(); err != nil {
		t.Fatal(err)
	}
	if got := n.content(); len(got) != 1 || got["10-bridge.conf"] != string(newer) {
		t.Errorf("left: %q", got)
	}
}

// TestALoneFileIsNeverLost has a list break, and the place of the file it was made of
// taken, while the file is put aside.
func TestALoneFileIsNeverLost(t *testing.T) {
	n := newNode(t)
	text := n.network("10-bridge.conf")
	n.install()
	list := n.content()["10-bridge.conflist"]
	n.write("10-bridge.conflist", []byte(list[:len(list)-8]))
	taken := filepath.Join(n.ConfDir, "10-bridge.conf")
	if err := os.Mkdir(taken, 0o755); err != nil {
		t.Fatal(err)
	}
	for _, what := range []string{list[:len(list)-8], list} {
		n.write("10-bridge.conflist", []byte(what))
		if done, err := n.Remove(); err == nil || len(done) > 0 {
			t.Errorf("did %q, %v", done, err)
		}
	}
	if err := os.Remove(taken); err != nil {
		t.Fatal(err)
	}
	n.write("10-bridge.conflist", []byte(list[:len(list)-8]))
	if _, err := n.Remove(); err != nil {
		t.Fatal(err)
	}
	if got := n.content(); len(got) != 1 || got["10-bridge.conf"] != string(text) {
		t.Errorf("left: %q", got)
	}
}

// TestWhatIsLeftAlone names what the plugin can't be added to.
func TestWhatIsLeftAlone(t *testing.T) {
	for name, c := range map[string]struct{ file, text, want string }{
		"nothing":     {"", "", ErrNoNetwork.Error()},
		"old version": {"1.conflist", `{"cniVersion":"0.3.0","name":"x","plugins":[{"type":"a"}]}`, `cniVersion is "0.3.0"`},
		"no version":  {"1.conflist", `{"name":"x","plugins":[{"type":"a"}]}`, `cniVersion is ""`},
		"half":        {"1.conflist", `{"cniVersion":"1.0.0","name":"x","plugins":[{"ty`, "unexpected"},
		"empty":       {"1.conflist", `{"cniVersion":"1.0.0","name":"x","plugins":[]}`, errNoPlugins.Error()},
		"object":      {"1.conflist", `{"cniVersion":"1.0.0","name":"x","plugins":{}}`, errNoPlugins.Error()},
		"lone, old":   {"1.conf", `{"cniVersion":"0.2.0","name":"x","type":"a"}`, `cniVersion is "0.2.0"`},
		"no plugin":   {"1.conf", `{"cniVersion":"1.0.0","name":"x"}`, "names no plugin"},
	} {
		t.Run(name, func(t *testing.T) {
			n := newNode(t)
			if c.file != "" {
				n.write(c.file, []byte(c.text))
			}
			if _, err := n.Install(); err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("%v, want %q", err, c.want)
			}
			if _, err := n.Remove(); err != nil || n.content()[c.file] != c.text || len(n.content()) > 1 {
				t.Errorf("%v, left %q", err, n.content())
			}
		})
	}
}

func TestALinkIsNotReplaced(t *testing.T) {
	n := newNode(t)
	n.network("10-ptp.conflist")
	if err := os.Rename(filepath.Join(n.ConfDir, "10-ptp.conflist"), filepath.Join(n.ConfDir, "real")); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink("real", filepath.Join(n.ConfDir, "10-ptp.conflist")); err != nil {
		t.Fatal(err)
	}
	if _, err := n.Install(); err == nil || !strings.Contains(err.Error(), "no regular file") {
		t.Errorf("%v", err)
	}
}

// TestItIsKept has two installers at work, as during a roll-out, while a network writes
// its file again and again, and somebody deletes the program.
func TestItIsKept(t *testing.T) {
	n := newNode(t)
	ctx, stop := context.WithCancel(t.Context())
	var running sync.WaitGroup
	for range 2 {
		running.Go(func() {
			if err := n.Keep(ctx, slog.New(slog.DiscardHandler)); err != nil {
				t.Error(err)
			}
		})
	}
	for _, name := range conflists() {
		n.network(name)
		n.until(n.Ready)
		n.network(name)
		n.until(n.Ready)
		if err := os.Remove(filepath.Join(n.ConfDir, name)); err != nil {
			t.Fatal(err)
		}
		n.until(func() error {
			if err := n.Ready(); !errors.Is(err, ErrNoNetwork) {
				return errors.New("still ready")
			}
			return nil
		})
	}
	before := n.network("10-kindnet.conflist")
	n.until(n.Ready)
	if err := os.Remove(n.target()); err != nil {
		t.Fatal(err)
	}
	n.until(n.Ready)
	stop()
	running.Wait()
	if err := n.Ready(); err != nil {
		t.Errorf("the end of the installers took it away: %v", err)
	}
	if _, err := n.Remove(); err != nil {
		t.Fatal(err)
	}
	if got := n.content(); len(got) != 1 || got["10-kindnet.conflist"] != string(before) {
		t.Errorf("left: %q", got)
	}
}

// until waits until there is nothing to complain of.
func (n *node) until(ok func() error) {
	n.t.Helper()
	limit := time.Now().Add(20 * time.Second)
	for {
		err := ok()
		if err == nil {
			return
		}
		if time.Now().After(limit) {
			n.t.Fatal(err)
		}
		<-time.After(2 * time.Millisecond)
	}
}

func TestRemovingWhereNothingIs(t *testing.T) {
	n := newNode(t)
	n.ConfDir = filepath.Join(n.ConfDir, "missing")
	if done, err := n.Remove(); err != nil || len(done) > 0 {
		t.Errorf("%q, %v", done, err)
	}
	if _, err := n.Install(); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("%v", err)
	}
}
