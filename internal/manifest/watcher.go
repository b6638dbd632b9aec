// SPDX-License-Identifier: Apache-2.0

package manifest

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"syscall"
	"time"

	"github.com/fsnotify/fsnotify"
)

// watcher keeps the kernel's watches on all folders in which a change would show.
type watcher struct {
	dir    string // the folder
	self   string // its absolute path, links not followed
	above  string // the folder it stands in, because the folder itself may be replaced
	events *fsnotify.Watcher
	inside map[string]bool // real paths of the folders that manifests lie in
}

func newWatcher(dir string, events *fsnotify.Watcher) (*watcher, error) {
	absolute, err := filepath.Abs(dir)
	if err != nil {
		return nil, fmt.Errorf("watching folder %s: %w", dir, err)
	}
	above, err := filepath.EvalSymlinks(filepath.Dir(absolute))
	if err != nil {
		return nil, fmt.Errorf("watching folder %s: %w", dir, err)
	}
	return &watcher{dir: dir, self: filepath.Join(above, filepath.Base(absolute)), above: above, events: events}, nil
}

// scan reads the folder under watch. A folder that it begins to watch only now
// may have changed before, so then it reads once more.
func (w *watcher) scan() (scanned, error) {
	for {
		found, err := scan(w.dir)
		if err != nil {
			// What could be read is not all; the old watches stay.
			for dir := range w.inside {
				found.dirs[dir] = true
			}
		}
		added, watchErr := w.follow(found)
		if watchErr != nil {
			return scanned{}, watchErr
		}
		switch {
		case added:
		case err != nil:
			return scanned{err: err, state: "error: " + err.Error()}, nil
		default:
			return scanned{folder: found, state: fmt.Sprintf("%x", found.fingerprint())}, nil
		}
	}
}

// follow makes the kernel's watches those that the folder needs, and reports
// whether there were new ones. The library's own list is asked each time, because
// a watch ends with the folder it was on.
func (w *watcher) follow(f *folder) (added bool, err error) {
	watched := map[string]bool{}
	for _, dir := range w.events.WatchList() {
		watched[dir] = true
	}
	want := map[string]bool{w.above: true}
	w.inside = map[string]bool{}
	for _, set := range []map[string]bool{f.dirs, f.links} {
		for dir := range set {
			want[dir], w.inside[dir] = true, true
		}
	}
	for dir := range watched {
		if !want[dir] {
			_ = w.events.Remove(dir) // fails only where the watch has just ended by itself
		}
	}
	for dir := range want {
		if watched[dir] {
			continue
		}
		err := w.events.Add(dir)
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return false, fmt.Errorf("watching folder %s: %w", dir, limits(err))
		}
		added = added || err == nil
	}
	return added, nil
}

// limits adds which setting to raise.
func limits(err error) error {
	switch {
	case errors.Is(err, syscall.ENOSPC):
		return fmt.Errorf("%w (raise the sysctl fs.inotify.max_user_watches)", err)
	case errors.Is(err, syscall.EMFILE):
		return fmt.Errorf("%w (raise the sysctl fs.inotify.max_user_instances or the limit of open files)", err)
	}
	return err
}

// concerns reports whether an event may be about the manifests. In the folder
// above only the folder itself matters.
func (w *watcher) concerns(e fsnotify.Event) bool {
	in := filepath.Dir(e.Name)
	return w.inside[in] || w.inside[e.Name] || e.Name == w.self
}

// wait returns after a change has settled, when it is time to look without one,
// or when ctx ends.
func (w *watcher) wait(ctx context.Context) error {
	next := time.NewTimer(reread)
	defer next.Stop()
	var settle <-chan time.Time
	var deadline time.Time
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-next.C:
			return nil
		case <-settle:
			return nil
		case err, ok := <-w.events.Errors:
			if !ok {
				return errors.New("watching manifests: the watcher was closed")
			}
			if errors.Is(err, fsnotify.ErrEventOverflow) {
				return nil // something changed, nobody knows what
			}
			return fmt.Errorf("watching manifests: %w", err)
		case e, ok := <-w.events.Events:
			if !ok {
				return errors.New("watching manifests: the watcher was closed")
			}
			if !w.concerns(e) {
				continue
			}
			now := time.Now()
			if deadline.IsZero() {
				deadline = now.Add(longestWait)
			}
			settle = time.After(min(quiet, deadline.Sub(now)))
		}
	}
}
