// SPDX-License-Identifier: Apache-2.0

package install

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/fsnotify/fsnotify"
)

const (
	// settle is how long writes to the folder are gathered: a network writes its
	// configuration in several steps.
	settle = 50 * time.Millisecond
	// look is how often the folder is looked at without being told of a change.
	look = 10 * time.Second
)

// Keep installs the plugin and keeps it installed until ctx ends, whatever network
// the node has by then. It leaves it installed.
func (i *Installer) Keep(ctx context.Context, log *slog.Logger) error {
	watcher, err := fsnotify.NewWatcher()
	if err != nil {
		return fmt.Errorf("watching for network configurations: %w", err)
	}
	defer watcher.Close()
	for _, dir := range []string{i.ConfDir, i.BinDir} {
		if err := watcher.Add(dir); err != nil {
			return fmt.Errorf("watching %s: %w", dir, err)
		}
	}
	said := ""
	for {
		done, err := i.Install()
		for _, line := range done {
			log.Info("changed the node", "change", line)
		}
		if now := text(err); now != said {
			said = now
			if errors.Is(err, ErrNoNetwork) {
				log.Info("waiting for a network", "why", err)
			} else if err != nil {
				log.Error("pods are not captured before their first packet", "err", err)
			}
		}
		if !wait(ctx, watcher, err) {
			return nil
		}
	}
}

// wait waits until it is time to look again; false means that ctx has ended.
func wait(ctx context.Context, watcher *fsnotify.Watcher, err error) bool {
	timer := time.NewTimer(look)
	defer timer.Stop()
	if errors.Is(err, errChanged) {
		timer.Reset(settle)
	}
	for {
		select {
		case <-ctx.Done():
			return false
		case <-watcher.Events:
			timer.Reset(settle)
		case <-watcher.Errors: // too many events at once; a look finds what they told
			timer.Reset(settle)
		case <-timer.C:
			return true
		}
	}
}

func text(err error) string {
	if err == nil {
		return ""
	}
	return err.Error()
}
