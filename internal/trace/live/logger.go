// SPDX-License-Identifier: Apache-2.0

package live

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"syscall"
)

// The legacy variant logs traced packets by the logger that is set for IPv4. The
// targets LOG and NFLOG name their logger themselves, so that changing this one
// changes nothing for a node's own rules.
const (
	loggerFile = "/proc/sys/net/netfilter/nf_log/2"
	loggerWant = "nfnetlink_log"
)

// logger is the setting as it is while a trace runs.
type logger struct {
	before  string
	restore *exec.Cmd
	hold    *os.File // closing it lets the child restore the setting
}

// setLogger changes the setting in the namespace the thread is in. A child
// process puts it back when this process lets go of it or ends, were it by
// SIGKILL.
func setLogger() (*logger, error) {
	data, err := os.ReadFile(loggerFile)
	if err != nil {
		return nil, fmt.Errorf("reading netfilter's logger: %w", err)
	}
	before := strings.TrimSpace(string(data))
	if before == loggerWant {
		return &logger{before: before}, nil
	}
	l := &logger{before: before}
	if err := l.startChild(); err != nil {
		return nil, err
	}
	if err := os.WriteFile(loggerFile, []byte(loggerWant), 0); err != nil {
		return nil, errors.Join(fmt.Errorf("setting netfilter's logger: %w", err), l.close())
	}
	return l, nil
}

// restoreCommand is the first argument that makes a program the child of a trace.
const restoreCommand = "live-trace-restore"

// Dispatch runs the child that puts back what a trace changed, if the arguments ask
// for it. Programs that trace call it first; ours tells that they must end.
func Dispatch(args []string) (code int, ours bool) {
	if len(args) != 3 || args[1] != restoreCommand {
		return 0, false
	}
	if err := restoreLogger(args[2]); err != nil {
		fmt.Fprintln(os.Stderr, "restoring netfilter's logger:", err)
		return 1, true
	}
	return 0, true
}

// restoreLogger waits for the end of standard input.
func restoreLogger(before string) error {
	// A signal to the parent's group ends the parent, and with it the input.
	buf := make([]byte, 1)
	for {
		if n, err := os.Stdin.Read(buf); n == 0 || err != nil {
			break
		}
	}
	return putBackLogger(before)
}

// putBackLogger leaves alone what somebody else has set meanwhile.
func putBackLogger(before string) error {
	data, err := os.ReadFile(loggerFile)
	if err != nil {
		return fmt.Errorf("reading netfilter's logger: %w", err)
	}
	if strings.TrimSpace(string(data)) != loggerWant {
		return nil
	}
	return os.WriteFile(loggerFile, []byte(before), 0)
}

// startChild starts the child in the thread's namespace, in a session of its own, so
// that Ctrl-C does not reach it.
func (l *logger) startChild() error {
	self, err := os.Executable()
	if err != nil {
		return fmt.Errorf("finding this program: %w", err)
	}
	read, write, err := os.Pipe()
	if err != nil {
		return fmt.Errorf("making a pipe: %w", err)
	}
	defer read.Close()
	l.hold = write
	l.restore = exec.Command(self, restoreCommand, l.before)
	l.restore.Stdin, l.restore.Stderr = read, os.Stderr
	l.restore.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	if err := l.restore.Start(); err != nil {
		write.Close()
		return fmt.Errorf("starting the process that restores netfilter's logger: %w", err)
	}
	return nil
}

// close puts the setting back.
func (l *logger) close() error {
	if l.restore == nil {
		return nil
	}
	if err := l.hold.Close(); err != nil {
		return fmt.Errorf("restoring netfilter's logger: %w", err)
	}
	if err := l.restore.Wait(); err != nil {
		return fmt.Errorf("restoring netfilter's logger: %w", err)
	}
	return nil
}
