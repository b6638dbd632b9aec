// SPDX-License-Identifier: Apache-2.0

package manifest

import (
	"context"
	"fmt"
	"time"

	"github.com/fsnotify/fsnotify"

	"github.com/ambient22/ambient22/internal/mesh"
)

const (
	// A writer of many files is waited for until it has been quiet for so long,
	// but no longer than longestWait in all.
	quiet       = 100 * time.Millisecond
	longestWait = 2 * time.Second
	// reread is how often the folder is read without being told of a change:
	// network file systems tell nothing.
	reread = 30 * time.Second
)

// Watch loads a folder, delivers the outcome, and does so again after every change
// of the manifests' text until ctx ends. After an error the last snapshot stays in
// force; the next change is tried again. Watch itself fails only where the folder
// can't be watched.
//
// Files may be written in place or replaced by renaming, and may be links as in a
// ConfigMap volume. deliver is called from one goroutine at a time.
func Watch(ctx context.Context, dir string, o Options, deliver func(*mesh.Snapshot, error)) error {
	events, err := fsnotify.NewWatcher()
	if err != nil {
		return fmt.Errorf("watching manifests: %w", limits(err))
	}
	defer events.Close()
	w, err := newWatcher(dir, events)
	if err != nil {
		return err
	}
	var last string
	for {
		found, err := w.scan()
		if err != nil {
			return err
		}
		if found.state != last {
			last = found.state
			deliver(found.load(dir, o))
		}
		if err := w.wait(ctx); err != nil {
			return err
		}
		if ctx.Err() != nil {
			return nil
		}
	}
}

// scanned is the outcome of reading the folder once.
type scanned struct {
	folder *folder
	err    error
	state  string // equal for an equal outcome
}

func (s scanned) load(dir string, o Options) (*mesh.Snapshot, error) {
	if s.err != nil {
		return nil, fmt.Errorf("loading manifests: %w", s.err)
	}
	return s.folder.snapshot(dir, o)
}
