// SPDX-License-Identifier: Apache-2.0

package install

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"

	"github.com/ambient22/ambient22/internal/cni"
)

// kept is what the name of a lone .conf gets while a list that was made of it is used.
// Container runtimes don't look at files of that ending.
const kept = ".before-ambient22"

// ErrNoNetwork says that there is no network configuration yet to add the plugin to.
var ErrNoNetwork = errors.New("there is no network configuration yet")

// Installer is one node's plugin.
type Installer struct {
	Program  string // the file to install
	BinDir   string // where the container runtime finds plugins
	ConfDir  string // where it finds network configurations
	Kind     string // the plugin's type, and the name of its program
	Settings map[string]string
	Versions []string // of the specification, that the plugin speaks
}

// Install puts program and entry where they belong, where they aren't. It says what
// it did, in words for a log.
func (i *Installer) Install() (done []string, err error) {
	unlock, err := lock(i.ConfDir)
	if err != nil {
		return nil, err
	}
	defer unlock()
	if done, err = i.program(); err != nil {
		return done, err
	}
	changes, err := i.chain()
	return append(done, changes...), err
}

// Ready is why the runtime does not use the plugin, nil where it does.
func (i *Installer) Ready() error {
	if same, err := sameContent(i.Program, i.target()); err != nil || !same {
		return fmt.Errorf("%s is not the program of this version (%w)", i.target(), errors.Join(err, errNotInstalled))
	}
	files, err := i.files()
	if err != nil {
		return err
	}
	if len(files) == 0 {
		return ErrNoNetwork
	}
	text, err := os.ReadFile(filepath.Join(i.ConfDir, files[0]))
	if err != nil {
		return fmt.Errorf("reading the network configuration: %w", err)
	}
	l, err := parseList(text)
	if err != nil || len(l.entries(i.Kind)) != 1 {
		return fmt.Errorf("%s has no entry %s (%w)", files[0], i.Kind, errors.Join(err, errNotInstalled))
	}
	return nil
}

var errNotInstalled = errors.New("not installed")

// Remove takes entry and program away again. A file that only Install changed gets
// its bytes of before.
func (i *Installer) Remove() (done []string, err error) {
	unlock, err := lock(i.ConfDir)
	if errors.Is(err, fs.ErrNotExist) {
		err, unlock = nil, func() {}
	}
	if err != nil {
		return nil, err
	}
	defer unlock()
	files, err := i.files()
	if err != nil {
		return nil, err
	}
	var failed []error
	for _, name := range files {
		line, err := i.unchain(name)
		failed = append(failed, err)
		if line != "" {
			done = append(done, line)
		}
	}
	// The program goes last: an entry without a program would break every pod. So do
	// the copies: one that could not be put back is the only one there is.
	if err := errors.Join(failed...); err != nil {
		return done, err
	}
	i.removeParts()
	switch err := os.Remove(i.target()); {
	case err == nil:
		done = append(done, "removed "+i.target())
	case !errors.Is(err, fs.ErrNotExist):
		return done, fmt.Errorf("removing the plugin: %w", err)
	}
	return done, nil
}

func (i *Installer) target() string { return filepath.Join(i.BinDir, i.Kind) }

// program installs the plugin's program. A running one goes on with the old file.
func (i *Installer) program() ([]string, error) {
	if same, err := sameContent(i.Program, i.target()); err == nil && same {
		return nil, nil
	}
	content, err := os.ReadFile(i.Program)
	if err == nil {
		err = os.MkdirAll(i.BinDir, 0o755)
	}
	if err == nil {
		err = cni.WriteFile(i.target(), content, 0o755)
	}
	if err != nil {
		return nil, fmt.Errorf("installing the plugin: %w", err)
	}
	return []string{"installed " + i.target()}, nil
}

// files are the names of the network configurations, in the order in which container
// runtimes take them: the first counts.
func (i *Installer) files() ([]string, error) {
	all, err := os.ReadDir(i.ConfDir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("reading the folder of network configurations: %w", err)
	}
	var names []string
	for _, f := range all {
		switch filepath.Ext(f.Name()) {
		case ".conf", ".conflist", ".json":
			if !f.IsDir() && !strings.HasPrefix(f.Name(), ".") {
				names = append(names, f.Name())
			}
		}
	}
	return names, nil
}

// chain puts the entry into the first configuration, and takes it out of all others.
func (i *Installer) chain() (done []string, err error) {
	files, err := i.files()
	if err != nil {
		return nil, err
	}
	if len(files) == 0 {
		return nil, fmt.Errorf("adding the plugin in %s: %w", i.ConfDir, ErrNoNetwork)
	}
	line, err := i.add(files[0])
	if err != nil {
		return nil, fmt.Errorf("adding the plugin to %s: %w", filepath.Join(i.ConfDir, files[0]), err)
	}
	if line != "" {
		done = append(done, line)
	}
	for _, name := range files[1:] {
		if name == strings.TrimSuffix(files[0], filepath.Ext(files[0]))+".conflist" {
			continue // the list that was made of the first just now
		}
		line, err := i.unchain(name)
		if err != nil {
			return done, err
		}
		if line != "" {
			done = append(done, line)
		}
	}
	return done, nil
}

// entry is the plugin's own object.
func (i *Installer) entry() (string, error) {
	object := map[string]string{"type": i.Kind}
	for key, value := range i.Settings {
		object[key] = value
	}
	text, err := json.Marshal(object)
	return string(text), err
}

// add puts the entry into one file.
func (i *Installer) add(name string) (done string, err error) {
	path := filepath.Join(i.ConfDir, name)
	text, err := os.ReadFile(path)
	if err != nil {
		return "", err
	}
	l, err := parseList(text)
	if errors.Is(err, errNoPlugins) && filepath.Ext(name) != ".conflist" {
		return i.convert(name, text)
	}
	if err != nil {
		return "", err
	}
	now, err := i.added(l)
	if err != nil || bytes.Equal(now, text) {
		return "", err
	}
	return "added " + i.Kind + " to " + path, replace(path, text, now)
}

// added is a list with the entry, once and as it should be.
func (i *Installer) added(l *list) ([]byte, error) {
	if !slices.Contains(i.Versions, l.cniVersion) {
		return nil, fmt.Errorf("its cniVersion is %q, and the plugin speaks %s", l.cniVersion, strings.Join(i.Versions, ", "))
	}
	entry, err := i.entry()
	if err != nil {
		return nil, err
	}
	places := l.entries(i.Kind)
	if len(places) == 1 && places[0] > 0 && string(l.text[l.plugins[places[0]].start:l.plugins[places[0]].end]) == entry {
		return l.text, nil
	}
	for len(places) > 0 {
		if l, err = parseList(l.without(places[0])); err != nil {
			return nil, err
		}
		places = l.entries(i.Kind)
	}
	return l.with(entry), nil
}

// convert makes a list of a lone plugin's file. The list comes later in the order of
// names, so it counts from the moment when the file is put aside.
func (i *Installer) convert(name string, text []byte) (done string, err error) {
	made, err := listOf(text)
	if err != nil {
		return "", err
	}
	l, err := parseList(made)
	if err != nil {
		return "", err
	}
	now, err := i.added(l)
	if err != nil {
		return "", err
	}
	path := filepath.Join(i.ConfDir, name)
	info, err := os.Stat(path)
	if err != nil {
		return "", err
	}
	if other, err := os.ReadFile(conflist(path)); err == nil && !bytes.Contains(other, []byte(i.Kind)) {
		return "", fmt.Errorf("%s is there too, and only one of the two can be used; remove the one that is not", conflist(path))
	}
	if err := writeLike(conflist(path), now, info); err != nil {
		return "", err
	}
	if err := os.Rename(path, path+kept); err != nil {
		return "", err
	}
	return fmt.Sprintf("added %s to %s, which was made of %s", i.Kind, conflist(path), name), nil
}

func conflist(path string) string { return strings.TrimSuffix(path, filepath.Ext(path)) + ".conflist" }

// unchain takes the entry out of one file.
func (i *Installer) unchain(name string) (done string, err error) {
	path := filepath.Join(i.ConfDir, name)
	text, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return "", nil
	}
	if err != nil {
		return "", fmt.Errorf("reading the network configuration: %w", err)
	}
	if !bytes.Contains(text, []byte(i.Kind)) {
		return "", nil
	}
	l, err := parseList(text)
	if err != nil {
		// What nobody can read has no plugin in it; only the file that it was made of
		// is worth anything then.
		return i.rescue(path)
	}
	now := text
	for places := l.entries(i.Kind); len(places) > 0; places = l.entries(i.Kind) {
		now = l.without(places[0])
		if l, err = parseList(now); err != nil {
			break // nothing is left
		}
	}
	if bytes.Equal(now, text) {
		return "", nil
	}
	restored, err := i.restore(path, now)
	if err != nil {
		return "", err
	}
	if restored {
		return "restored the file that " + path + " was made of", nil
	}
	if err := replace(path, text, now); err != nil {
		return "", fmt.Errorf("taking the plugin out of %s: %w", path, err)
	}
	return "took " + i.Kind + " out of " + path, nil
}

// restore puts a lone plugin's file back, if the list is still the one that was made
// of it. Otherwise somebody has written the list since, and it is what counts.
func (i *Installer) restore(path string, now []byte) (bool, error) {
	for _, ending := range []string{".conf", ".json"} {
		lone := strings.TrimSuffix(path, filepath.Ext(path)) + ending
		text, err := os.ReadFile(lone + kept)
		if err != nil {
			continue
		}
		made, err := listOf(text)
		if err == nil && bytes.Equal(made, now) {
			if err := os.Rename(lone+kept, lone); err != nil {
				return false, fmt.Errorf("restoring %s: %w", lone, err)
			}
			return true, os.Remove(path)
		}
		if err := os.Remove(lone + kept); err != nil {
			return false, fmt.Errorf("removing an old copy: %w", err)
		}
	}
	return false, nil
}

// rescue puts a lone plugin's file back in place of a list that is broken.
func (i *Installer) rescue(path string) (done string, err error) {
	for _, ending := range []string{".conf", ".json"} {
		lone := strings.TrimSuffix(path, filepath.Ext(path)) + ending
		err := os.Rename(lone+kept, lone)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err == nil {
			err = os.Remove(path)
		}
		if err != nil {
			return "", fmt.Errorf("restoring %s in place of %s, which is broken: %w", lone, path, err)
		}
		return "restored " + lone + " in place of " + path + ", which was broken", nil
	}
	return "", nil
}

// errChanged says that a file was written by somebody else in between; the watch
// brings it up again.
var errChanged = errors.New("somebody else has just changed it")

// replace writes a file that is still what it was read as.
func replace(path string, was, now []byte) error {
	info, err := os.Lstat(path)
	if err != nil {
		return err
	}
	if !info.Mode().IsRegular() {
		return errors.New("it is no regular file")
	}
	if text, err := os.ReadFile(path); err != nil || !bytes.Equal(text, was) {
		return errors.Join(errChanged, err)
	}
	return writeLike(path, now, info)
}

// writeLike writes a file with the mode and the owner of another.
func writeLike(path string, content []byte, info fs.FileInfo) error {
	if err := cni.WriteFile(path, content, info.Mode().Perm()); err != nil {
		return err
	}
	if stat, ok := info.Sys().(*syscall.Stat_t); ok && (stat.Uid != uint32(os.Geteuid()) || stat.Gid != uint32(os.Getegid())) {
		return os.Chown(path, int(stat.Uid), int(stat.Gid))
	}
	return nil
}
