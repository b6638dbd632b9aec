// SPDX-License-Identifier: Apache-2.0

package lab

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/sys/unix"
)

// ErrDown says that there is no lab of that name.
var ErrDown = errors.New("the lab is not up (ambientctl lab up starts it)")

// ErrUp says that there is one already.
var ErrUp = errors.New("the lab is up already")

// state is what later commands need to know about a lab. It is written before
// anything else is made, so that `down` finds a lab that broke off.
type state struct {
	Iptables string `json:"iptables"`
	Tunnel   string `json:"tunnel"`
	Profile  string `json:"profile"`
	Dialect  string `json:"dialect"`
	BinDir   string `json:"bin_dir"`
}

func (o Options) state() *state {
	return &state{Iptables: o.Iptables, Tunnel: o.Tunnel, Profile: o.Profile, Dialect: o.Dialect, BinDir: o.BinDir}
}

func stateFile(dir string) string { return filepath.Join(dir, "state.json") }

func readState(dir string) (*state, error) {
	data, err := os.ReadFile(stateFile(dir))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, ErrDown
	}
	if err != nil {
		return nil, fmt.Errorf("reading the lab's state: %w", err)
	}
	s := &state{}
	if err := json.Unmarshal(data, s); err != nil {
		return nil, fmt.Errorf("reading %s: %w", stateFile(dir), err)
	}
	return s, nil
}

func (s *state) write(dir string) error {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return fmt.Errorf("making the lab's folder: %w", err)
	}
	data, err := json.Marshal(s)
	if err != nil {
		return fmt.Errorf("writing the lab's state: %w", err)
	}
	// Written aside and renamed: a state file is whole or not there.
	aside := stateFile(dir) + ".new"
	if err := os.WriteFile(aside, data, 0o600); err != nil {
		return fmt.Errorf("writing the lab's state: %w", err)
	}
	if err := os.Rename(aside, stateFile(dir)); err != nil {
		return fmt.Errorf("writing the lab's state: %w", err)
	}
	return nil
}

// lockPatience is how long a command waits for another one that changes the same
// lab: one that was killed may hold the lock through a child about to exec.
const lockPatience = 2 * time.Second

// lock keeps two commands from changing one lab at once. The kernel lets go of
// it when the process ends, however that happens.
func lock(ctx context.Context, stateDir, name string) (unlock func(), err error) {
	ctx, cancel := context.WithTimeout(ctx, lockPatience)
	defer cancel()
	tick := time.NewTicker(pollEvery)
	defer tick.Stop()
	for {
		f, err := tryLock(stateDir, name)
		if err == nil {
			return func() { f.Close() }, nil
		}
		if !errors.Is(err, unix.EWOULDBLOCK) {
			return nil, fmt.Errorf("locking the lab: %w", err)
		}
		select {
		case <-ctx.Done():
			return nil, fmt.Errorf("locking the lab: another command is changing the lab %s: %w", name, err)
		case <-tick.C:
		}
	}
}

// tryLock takes the lock or fails with EWOULDBLOCK, also where the file it
// locked is not the lab's any more: the one who had it has removed it.
func tryLock(stateDir, name string) (*os.File, error) {
	if err := os.MkdirAll(stateDir, 0o755); err != nil {
		return nil, err
	}
	path := filepath.Join(stateDir, name+".lock")
	f, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR, 0o600)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, unix.EWOULDBLOCK // the folder has just been removed
	}
	if err != nil {
		return nil, err
	}
	if err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		f.Close()
		return nil, err
	}
	locked, err := f.Stat()
	if err != nil {
		f.Close()
		return nil, err
	}
	if there, err := os.Stat(path); err != nil || !os.SameFile(locked, there) {
		f.Close()
		return nil, unix.EWOULDBLOCK
	}
	return f, nil
}
