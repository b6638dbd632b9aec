// SPDX-License-Identifier: Apache-2.0

package hosts

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"
)

// Command is a command inside a host. The caller sets its streams and runs it.
func (n *Net) Command(ctx context.Context, host string, argv ...string) (*exec.Cmd, error) {
	args, err := n.enterArgs(host)
	if err != nil {
		return nil, err
	}
	args = append(append(args, "--"), argv...)
	return exec.CommandContext(ctx, args[0], args[1:]...), nil
}

// Output runs a command inside a host and returns what it printed; an error
// carries what it said on stderr.
func (n *Net) Output(ctx context.Context, host string, argv ...string) (string, error) {
	cmd, err := n.Command(ctx, host, argv...)
	if err != nil {
		return "", err
	}
	var stderr strings.Builder
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		return string(out), fmt.Errorf("running %s in %s: %w: %s", strings.Join(argv, " "), host, err, strings.TrimSpace(stderr.String()))
	}
	return string(out), nil
}

func (n *Net) enterArgs(host string) ([]string, error) {
	if len(n.Enter) == 0 {
		return nil, fmt.Errorf("entering %s: the lab has no entry command", host)
	}
	args := append([]string{}, n.Enter...)
	args = append(args, "--netns", n.Namespace(host), "--tools", n.tools())
	if _, isNode := n.Topology.Node(host); isNode {
		return args, nil
	}
	if _, isPod := n.Topology.Pod(host); !isPod {
		return nil, fmt.Errorf("entering %s: no such host; there are %s", host, strings.Join(n.Topology.Hosts(), ", "))
	}
	return append(args, "--pod"), nil
}

// Daemon is a process that outlives the command that started it.
type Daemon struct {
	Host string
	Name string // unique on the host; names the log file
	Log  string
	PID  int

	done chan error // closed with the process's end, where it is our child
}

// Start runs a daemon in a host. It goes on when the caller ends; Destroy stops
// it with everything else in the host.
func (n *Net) Start(host, name string, argv ...string) (*Daemon, error) {
	args, err := n.enterArgs(host)
	if err != nil {
		return nil, err
	}
	path := n.LogFile(host, name)
	log, err := os.OpenFile(path, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	if err != nil {
		return nil, fmt.Errorf("opening the log of %s: %w", name, err)
	}
	defer log.Close()
	args = append(append(args, "--"), argv...)
	cmd := exec.Command(args[0], args[1:]...)
	cmd.Stdout, cmd.Stderr = log, log
	cmd.Dir = n.Dir
	// A session of its own: Ctrl-C reaches the lab command, which then stops
	// the daemons in order.
	cmd.SysProcAttr = &unix.SysProcAttr{Setsid: true}
	if err := cmd.Start(); err != nil {
		return nil, fmt.Errorf("starting %s in %s: %w", name, host, err)
	}
	d := &Daemon{Host: host, Name: name, Log: path, PID: cmd.Process.Pid, done: make(chan error, 1)}
	go func() { d.done <- cmd.Wait() }()
	return d, nil
}

// Ended reports whether the daemon, started by this process, has ended, and
// how.
func (d *Daemon) Ended() (error, bool) {
	select {
	case err := <-d.done:
		d.done <- err // the next asker is told, too
		if err == nil {
			err = fmt.Errorf("%s in %s ended", d.Name, d.Host)
		}
		return err, true
	default:
		return nil, false
	}
}

// Tail returns the last lines of a log file, or why they can't be read.
func Tail(path string, lines int) string {
	data, err := os.ReadFile(filepath.Clean(path))
	if err != nil {
		return err.Error()
	}
	all := strings.Split(strings.TrimRight(string(data), "\n"), "\n")
	if len(all) > lines {
		all = all[len(all)-lines:]
	}
	return strings.Join(all, "\n")
}
