// SPDX-License-Identifier: Apache-2.0

package accesslog

import (
	"errors"
	"fmt"
	"io"
	"os"
	"sync"
)

// Stdout is the path that stands for the writer given to NewSink.
const Stdout = "/dev/stdout"

// Sink takes log lines to the paths of the configuration. Each line is one
// write, so that lines never mix, whoever else appends to the same file. It may
// be used by many goroutines.
type Sink struct {
	stdout io.Writer

	mu    sync.Mutex
	files map[string]*os.File
}

// NewSink is a sink whose lines for /dev/stdout go to stdout.
func NewSink(stdout io.Writer) *Sink {
	return &Sink{stdout: stdout, files: map[string]*os.File{}}
}

// Write writes one whole line, which ends in a line break, to path. A file is
// opened when its first line comes, appended to, and created if it is missing.
func (s *Sink) Write(path string, line []byte) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	w, err := s.writer(path)
	if err != nil {
		return fmt.Errorf("opening access log: %w", err)
	}
	if _, err := w.Write(line); err != nil {
		return fmt.Errorf("writing access log %s: %w", path, err)
	}
	return nil
}

func (s *Sink) writer(path string) (io.Writer, error) {
	if path == Stdout {
		return s.stdout, nil
	}
	if f := s.files[path]; f != nil {
		return f, nil
	}
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_APPEND|os.O_CREATE, 0o644)
	if err != nil {
		return nil, err
	}
	s.files[path] = f
	return f, nil
}

// Reopen lets go of all files, so that the next line of each opens it anew: what
// a log rotation needs after it has renamed them.
func (s *Sink) Reopen() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	var errs []error
	for path, f := range s.files {
		errs = append(errs, f.Close())
		delete(s.files, path)
	}
	if err := errors.Join(errs...); err != nil {
		return fmt.Errorf("closing access logs: %w", err)
	}
	return nil
}

// Close closes all files. Later lines open them again.
func (s *Sink) Close() error { return s.Reopen() }
