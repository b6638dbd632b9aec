// SPDX-License-Identifier: Apache-2.0

package xds

import (
	"errors"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
)

func TestListenMakesAndRemoves(t *testing.T) {
	path := filepath.Join(t.TempDir(), "a", "b", "xds.sock")
	l, err := Listen(path)
	if err != nil {
		t.Fatal(err)
	}
	info, err := os.Lstat(path)
	if err != nil {
		t.Fatal(err)
	}
	if info.Mode() != fs.ModeSocket|0o600 {
		t.Errorf("mode %v, want a socket of 0600", info.Mode())
	}
	if err := l.Close(); err != nil {
		t.Error(err)
	}
	l.Close() // once more does no harm
	entries, err := os.ReadDir(filepath.Dir(path))
	if err != nil {
		t.Fatal(err)
	}
	if len(entries) != 0 {
		t.Errorf("closing left %v", entries)
	}
}

func TestListenMode(t *testing.T) {
	path := filepath.Join(t.TempDir(), "private", "xds.sock")
	l, err := Listen(path, WithMode(0o660))
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	for p, want := range map[string]fs.FileMode{path: 0o660, filepath.Dir(path): 0o755} {
		info, err := os.Lstat(p)
		if err != nil {
			t.Fatal(err)
		}
		if got := info.Mode().Perm(); got != want {
			t.Errorf("%s has mode %04o, want %04o", p, got, want)
		}
	}
}

func TestListenReplacesStaleSocket(t *testing.T) {
	path := filepath.Join(t.TempDir(), "xds.sock")
	stale, err := net.ListenUnix("unix", &net.UnixAddr{Name: path, Net: "unix"})
	if err != nil {
		t.Fatal(err)
	}
	stale.SetUnlinkOnClose(false) // as after SIGKILL
	stale.Close()
	l, err := Listen(path)
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	conn, err := net.Dial("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	conn.Close()
}

func TestListenRefuses(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "xds.sock")
	ours, err := Listen(path)
	if err != nil {
		t.Fatal(err)
	}
	defer ours.Close()
	if _, err := Listen(path); !errors.Is(err, ErrServed) || !strings.Contains(err.Error(), path) {
		t.Errorf("beside another controller: %v", err)
	}

	foreignPath := filepath.Join(dir, "foreign.sock")
	other, err := net.Listen("unix", foreignPath)
	if err != nil {
		t.Fatal(err)
	}
	defer other.Close()
	if _, err := Listen(foreignPath); !errors.Is(err, ErrServed) {
		t.Errorf("beside another server: %v", err)
	}

	file := filepath.Join(dir, "file")
	if err := os.WriteFile(file, []byte("precious"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := Listen(file); err == nil || !strings.Contains(err.Error(), "no socket") {
		t.Errorf("in place of a file: %v", err)
	}
	if data, _ := os.ReadFile(file); string(data) != "precious" {
		t.Error("the file is gone")
	}
	if _, err := Listen(dir); err == nil || !strings.Contains(err.Error(), "directory") {
		t.Errorf("in place of a directory: %v", err)
	}
	if _, err := Listen(filepath.Join(dir, strings.Repeat("x", maxSocketPath))); err == nil || !strings.Contains(err.Error(), "107") {
		t.Errorf("too long a path: %v", err)
	}
	for _, name := range []string{"foreign.sock.lock", "file.lock"} {
		if _, err := os.Lstat(filepath.Join(dir, name)); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("a refusal left %s", name)
		}
	}
}

func TestListenManyAtOnce(t *testing.T) {
	path := filepath.Join(t.TempDir(), "xds.sock")
	for range 20 {
		var wg sync.WaitGroup
		won := make(chan net.Listener, 20)
		for range cap(won) {
			wg.Go(func() {
				l, err := Listen(path)
				if err == nil {
					won <- l
				} else if !errors.Is(err, ErrServed) {
					t.Errorf("losing: %v", err)
				}
			})
		}
		wg.Wait()
		close(won)
		if len(won) != 1 {
			t.Fatalf("%d of %d are listening", len(won), cap(won))
		}
		for l := range won {
			l.Close()
		}
	}
}

func TestCloseLeavesASuccessorsSocket(t *testing.T) {
	path := filepath.Join(t.TempDir(), "xds.sock")
	l, err := Listen(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	successor, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	defer successor.Close()
	l.Close()
	if _, err := os.Lstat(path); err != nil {
		t.Errorf("the successor's socket: %v", err)
	}
}
