// SPDX-License-Identifier: Apache-2.0

package host

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/ambient22/ambient22/internal/lab/netns"
)

// ErrDown says that a host does not run.
var ErrDown = errors.New("the host does not run")

// Start runs the host's first process in the host's network namespace, which must be
// there, and returns when the host's files are in place and its daemons starting.
// The command is this program's, up to the file of the Spec, and leads to InitMain.
func (s *Spec) Start(command ...string) error {
	data, err := json.Marshal(s)
	if err != nil {
		return fmt.Errorf("writing the file of %s: %w", s.Name, err)
	}
	for _, dir := range []string{s.Dir, s.Logs} {
		if err := os.MkdirAll(dir, 0o755); err != nil {
			return fmt.Errorf("making the folders of %s: %w", s.Name, err)
		}
	}
	if err := os.WriteFile(s.file(), data, 0o600); err != nil {
		return fmt.Errorf("writing the file of %s: %w", s.Name, err)
	}
	said, err := s.spawn(command)
	if err == nil && said != "ok" {
		err = errors.New(said)
	}
	if err != nil {
		return fmt.Errorf("starting %s: %w", s.Name, err)
	}
	return nil
}

// spawn starts the first process and returns what it says about the host.
func (s *Spec) spawn(command []string) (string, error) {
	log, err := os.OpenFile(filepath.Join(s.Logs, s.Name+".log"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	if err != nil {
		return "", err
	}
	defer log.Close()
	r, w, err := os.Pipe()
	if err != nil {
		return "", err
	}
	defer r.Close()
	cmd := exec.Command(command[0], append(command[1:], s.file())...)
	cmd.Stdout, cmd.Stderr, cmd.ExtraFiles = log, log, []*os.File{w} // the first of these is readyFD
	cmd.Env = environment(s.Cluster)
	cmd.Dir = "/"
	cmd.SysProcAttr = &unix.SysProcAttr{
		Setsid:     true, // Ctrl-C is for the command, which then ends the hosts
		Cloneflags: unix.CLONE_NEWNS | unix.CLONE_NEWPID | unix.CLONE_NEWUTS | unix.CLONE_NEWIPC,
	}
	err = netns.Do(s.namespace(), cmd.Start)
	w.Close()
	if err != nil {
		return "", err
	}
	go cmd.Wait() // ends with the host, or this program, whichever is first
	said, err := io.ReadAll(r)
	return string(said), err
}

// Command is a command inside a host, which sees what the host's daemons see.
func Command(ctx context.Context, cluster, name string, argv ...string) (*exec.Cmd, error) {
	pid, err := first(cluster, name)
	if err != nil {
		return nil, err
	}
	args := append([]string{"--target", strconv.Itoa(pid), "--net", "--mount", "--pid", "--uts", "--ipc", "--"}, argv...)
	cmd := exec.CommandContext(ctx, "nsenter", args...)
	cmd.Env = environment(cluster)
	return cmd, nil
}

// first is the host's first process: number 1 in the namespace of its processes. It
// is looked for, not remembered: a remembered number may be another's by now.
func first(cluster, name string) (int, error) {
	pids, err := netns.Pids(Namespace(cluster, name))
	if err != nil {
		return 0, err
	}
	for _, pid := range pids {
		if isFirst(pid) {
			return pid, nil
		}
	}
	return 0, fmt.Errorf("looking for %s: %w", name, ErrDown)
}

func isFirst(pid int) bool {
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return false // it has ended
	}
	for line := range strings.Lines(string(status)) {
		if numbers, ok := strings.CutPrefix(line, "NSpid:"); ok {
			fields := strings.Fields(numbers)
			// A third number would be that of a pod on the host's network.
			return len(fields) == 2 && fields[1] == "1"
		}
	}
	return false
}
