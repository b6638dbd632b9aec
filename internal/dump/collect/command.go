// SPDX-License-Identifier: Apache-2.0

package collect

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"
)

// searchPath is where programs are looked for beside PATH: a user's PATH often
// has no folder of the administrator's programs.
var searchPath = [...]string{"/usr/local/sbin", "/usr/sbin", "/sbin", "/usr/local/bin", "/usr/bin", "/bin"}

// errMissing is returned where a program is not installed.
var errMissing = errors.New("not installed")

// limits bound what a command may print.
type limits struct {
	bytes int
	lines int // 0: no bound
}

// output is what a command printed. cut says what was kept, where the bounds did
// not let all of it through.
type output struct{ text, cut string }

// programFolders are the folders of PATH and searchPath.
func programFolders() []string {
	return append(filepath.SplitList(os.Getenv("PATH")), searchPath[:]...)
}

func (c *collector) program(name string) (path string, err error) {
	for _, dir := range c.folders {
		path := filepath.Join(dir, name)
		if info, err := os.Stat(path); err == nil && info.Mode().IsRegular() && info.Mode()&0o111 != 0 {
			return path, nil
		}
	}
	return "", fmt.Errorf("%s: %w", name, errMissing)
}

// run runs a program in the network namespace of the calling thread, which must
// be locked, and keeps what it prints within the limits.
func (c *collector) run(ctx context.Context, l limits, name string, args ...string) (output, error) {
	path, err := c.program(name)
	if err != nil {
		return output{}, err
	}
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	cmd := exec.CommandContext(ctx, path, args...)
	cmd.Env = append(os.Environ(), "LC_ALL=C", "NO_COLOR=1")
	cmd.WaitDelay = time.Second // for the same on the standard error
	var stderr head
	cmd.Stderr = &stderr
	pipe, err := cmd.StdoutPipe()
	if err != nil {
		return output{}, fmt.Errorf("running %s: %w", name, err)
	}
	if err := cmd.Start(); err != nil {
		return output{}, fmt.Errorf("running %s: %w", name, err)
	}
	// Where the program is killed, one that it started may hold the pipe open.
	closed := context.AfterFunc(ctx, func() { pipe.Close() })
	text, full, readErr := keep(pipe, l)
	closed()
	timeout := errors.Is(ctx.Err(), context.DeadlineExceeded)
	if full {
		stop() // nobody reads on
	}
	waitErr := cmd.Wait()
	switch {
	case full:
		return output{text: text, cut: l.String()}, nil
	case timeout:
		return output{}, fmt.Errorf("%s did not end in time", name)
	case waitErr != nil:
		return output{}, fmt.Errorf("%s: %w%s", name, waitErr, stderr.said())
	case readErr != nil && !errors.Is(readErr, fs.ErrClosed):
		return output{}, fmt.Errorf("reading what %s prints: %w", name, readErr)
	}
	return output{text: text}, nil
}

// String says what is kept.
func (l limits) String() string {
	if l.lines > 0 {
		return fmt.Sprintf("cut off: only the first %d lines, or %d bytes", l.lines, l.bytes)
	}
	return fmt.Sprintf("cut off after %d bytes", l.bytes)
}

// keep reads whole lines up to the limits. full tells that there was more.
func keep(r io.Reader, l limits) (text string, full bool, err error) {
	var b strings.Builder
	lines := 0
	buf := make([]byte, 64<<10)
	for {
		n, err := r.Read(buf)
		for part := buf[:n]; len(part) > 0; {
			end := bytes.IndexByte(part, '\n') + 1
			if end == 0 {
				end = len(part)
			}
			if b.Len()+end > l.bytes || l.lines > 0 && lines == l.lines {
				return wholeLines(b.String()), true, nil
			}
			b.Write(part[:end])
			if part[end-1] == '\n' {
				lines++
			}
			part = part[end:]
		}
		if errors.Is(err, io.EOF) {
			return b.String(), false, nil
		}
		if err != nil {
			return b.String(), false, err
		}
	}
}

func wholeLines(text string) string { return text[:strings.LastIndexByte(text, '\n')+1] }

// head is the beginning of what a program says on its standard error.
type head struct{ b bytes.Buffer }

func (h *head) Write(p []byte) (int, error) {
	const most = 4 << 10
	h.b.Write(p[:min(len(p), max(0, most-h.b.Len()))])
	return len(p), nil
}

// said is the first line of it, to be put behind an error.
func (h *head) said() string {
	line, _, _ := strings.Cut(strings.TrimSpace(h.b.String()), "\n")
	if line == "" {
		return ""
	}
	return ": " + line
}
