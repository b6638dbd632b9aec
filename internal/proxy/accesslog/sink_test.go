// SPDX-License-Identifier: Apache-2.0

package accesslog

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
)

func TestSinkStdout(t *testing.T) {
	var buf bytes.Buffer
	s := NewSink(&buf)
	if err := s.Write(Stdout, []byte("a line\n")); err != nil {
		t.Fatal(err)
	}
	if buf.String() != "a line\n" {
		t.Errorf("got %q", buf.String())
	}
}

func TestSinkWritesWholeLines(t *testing.T) {
	path := filepath.Join(t.TempDir(), "access.log")
	if err := os.WriteFile(path, []byte("before\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	s := NewSink(nil)
	var wg sync.WaitGroup
	for i := range 50 {
		wg.Go(func() {
			line := []byte(strings.Repeat(fmt.Sprint(i%10), 200) + "\n")
			for range 20 {
				if err := s.Write(path, line); err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	lines := strings.Split(strings.TrimSuffix(read(t, path), "\n"), "\n")
	if len(lines) != 1001 || lines[0] != "before" {
		t.Fatalf("got %d lines, the first %q", len(lines), lines[0])
	}
	for _, line := range lines[1:] {
		if len(line) != 200 || strings.Count(line, line[:1]) != 200 {
			t.Fatalf("mixed line %q", line)
		}
	}
}

func TestSinkReopensAfterRotation(t *testing.T) {
	dir := t.TempDir()
	path, old := filepath.Join(dir, "log"), filepath.Join(dir, "log.1")
	s := NewSink(nil)
	defer s.Close()
	write := func(line string) {
		t.Helper()
		if err := s.Write(path, []byte(line)); err != nil {
			t.Fatal(err)
		}
	}
	write("one\n")
	if err := os.Rename(path, old); err != nil {
		t.Fatal(err)
	}
	write("two\n")
	if err := s.Reopen(); err != nil {
		t.Fatal(err)
	}
	write("three\n")
	if read(t, old) != "one\ntwo\n" || read(t, path) != "three\n" {
		t.Errorf("got %q and %q", read(t, old), read(t, path))
	}
}

func TestSinkErrors(t *testing.T) {
	s := NewSink(failing{})
	if err := s.Write(filepath.Join(t.TempDir(), "missing", "log"), nil); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("got %v", err)
	}
	if err := s.Write(Stdout, []byte("x\n")); !errors.Is(err, fs.ErrClosed) {
		t.Errorf("got %v", err)
	}
}

type failing struct{}

func (failing) Write([]byte) (int, error) { return 0, fs.ErrClosed }

func read(t *testing.T, path string) string {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}
