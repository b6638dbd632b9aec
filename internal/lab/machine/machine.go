// SPDX-License-Identifier: Apache-2.0

package machine

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"time"

	"github.com/ambient22/ambient22/internal/lab/agent"
)

var (
	// ErrRunning means that the state folder already has a running machine.
	ErrRunning = errors.New("a machine is already running there")
	// ErrNotRunning means that the state folder has no running machine.
	ErrNotRunning = errors.New("no machine is running there")
)

const (
	poll     = 20 * time.Millisecond         // between looks at the lock
	stopTime = powerOffTime + 10*time.Second // for the supervisor to stop its machine
	killTime = 5 * time.Second               // for the kernel to end a killed supervisor
	lostTime = 3 * time.Second               // for the supervisor to notice and write down that its machine has ended
)

// Machine is a running machine.
type Machine struct {
	files files
	leash *os.File // our end; nil unless the machine ends with this process
}

// Start starts a machine and waits until it can run commands. When ctx ends before, the machine is removed.
//
// The error wraps ErrRunning or ErrNoKernel where that is the reason; when the machine died while starting it has the
// last lines of its console.
func Start(ctx context.Context, c Config) (*Machine, error) {
	c, err := c.complete()
	if err != nil {
		return nil, err
	}
	if _, err := FindKernel(c.CacheDir); err != nil {
		return nil, err
	}
	if err := os.MkdirAll(c.StateDir, 0o700); err != nil {
		return nil, fmt.Errorf("making the state folder: %w", err)
	}
	if err := os.Chmod(c.StateDir, 0o700); err != nil { // it may have been there
		return nil, fmt.Errorf("making the state folder: %w", err)
	}
	m := &Machine{files: files{dir: c.StateDir}}
	if running, err := m.files.held(); err != nil || running {
		return nil, errors.Join(err, fmt.Errorf("starting a machine in %s: %w", c.StateDir, ErrRunning))
	}
	if err := m.startSupervisor(ctx, c); err != nil {
		return nil, err
	}
	return m, nil
}

func (m *Machine) startSupervisor(ctx context.Context, c Config) error {
	config, err := json.Marshal(c)
	if err != nil {
		return fmt.Errorf("encoding the machine's configuration: %w", err)
	}
	log, err := os.OpenFile(m.files.supervisorLog(), os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return fmt.Errorf("opening the supervisor's log: %w", err)
	}
	defer log.Close()
	reports, reportEnd, err := os.Pipe()
	if err != nil {
		return fmt.Errorf("making a pipe: %w", err)
	}
	defer reports.Close()
	leashEnd, leash, err := os.Pipe()
	if err != nil {
		reportEnd.Close()
		return fmt.Errorf("making a pipe: %w", err)
	}
	cmd := exec.Command(c.Binary, supervisorCommand, c.StateDir)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = bytes.NewReader(config), log, log
	cmd.ExtraFiles = []*os.File{reportFd - 3: reportEnd, leashFd - 3: leashEnd}
	cmd.Dir = "/"
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true} // a terminal's Ctrl-C is for the caller, who decides
	err = cmd.Start()
	reportEnd.Close()
	leashEnd.Close()
	if err != nil {
		leash.Close()
		return fmt.Errorf("starting the machine's supervisor: %w", err)
	}
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }() // also keeps it from being a zombie later
	if err := awaitReport(ctx, reports, cmd.Process, ended); err != nil {
		leash.Close()
		return err
	}
	m.leash = leash
	if !c.EndWithCaller {
		leash.Close()
		m.leash = nil
	}
	return nil
}

// awaitReport returns when the supervisor has reported; after a failure it has also ended.
func awaitReport(ctx context.Context, from io.Reader, supervisor *os.Process, ended <-chan error) error {
	reported := make(chan report, 1)
	go func() {
		r := report{}
		if err := json.NewDecoder(from).Decode(&r); err != nil {
			r.Error = "starting the machine: its supervisor ended without a word"
		}
		reported <- r
	}()
	select {
	case r := <-reported:
		if r.Error == "" {
			return nil
		}
		<-ended
		return reportedError(r.Error)
	case <-ctx.Done():
		_ = supervisor.Signal(syscall.SIGTERM) // it may have ended already
		select {
		case <-ended:
		case <-time.After(stopTime):
			_ = supervisor.Kill() // QEMU goes with it
			<-ended
		}
		return fmt.Errorf("starting the machine: %w", ctx.Err())
	}
}

// reportedError gives an error that came as text its identity back where callers look for it.
func reportedError(text string) error {
	if strings.Contains(text, ErrRunning.Error()) {
		return fmt.Errorf("starting the machine: %w", ErrRunning)
	}
	return errors.New(text)
}

// Attach finds the machine of a state folder. The error wraps ErrNotRunning, with how it ended if it did so by itself.
func Attach(stateDir string) (*Machine, error) {
	m := &Machine{files: files{dir: stateDir}}
	conn, err := m.files.dial()
	if err != nil {
		return nil, m.notRunning()
	}
	conn.Close()
	return m, nil
}

// notRunning says why a machine can't be reached.
func (m *Machine) notRunning() error {
	if held, err := m.files.held(); err == nil && held {
		return fmt.Errorf("reaching the machine in %s: %w yet, it is starting or stopping", m.files.dir, ErrNotRunning)
	}
	if text, err := os.ReadFile(m.files.failure()); err == nil {
		return fmt.Errorf("reaching the machine in %s: %w: %s", m.files.dir, ErrNotRunning, strings.TrimSpace(string(text)))
	}
	if _, err := os.Stat(m.files.info()); err == nil { // a supervisor that could, would have removed it
		return fmt.Errorf("reaching the machine in %s: %w: its supervisor was killed", m.files.dir, ErrNotRunning)
	}
	return fmt.Errorf("reaching the machine in %s: %w", m.files.dir, ErrNotRunning)
}

// Exec runs a command in the machine, as agent.Exec describes. When the machine ends meanwhile, the error wraps
// ErrNotRunning and has the last lines of its console.
func (m *Machine) Exec(ctx context.Context, cmd agent.Cmd) (exitCode int, err error) {
	conn, err := m.files.dial()
	if err != nil {
		return -1, m.notRunning()
	}
	exitCode, err = agent.Exec(ctx, conn, cmd)
	if errors.Is(err, agent.ErrLost) && m.awaitUnlock(context.WithoutCancel(ctx), lostTime) == nil {
		return exitCode, fmt.Errorf("running %s: %w", cmd.Path, m.notRunning())
	}
	return exitCode, err
}

// Stop switches the machine off and waits until nothing of it runs; what does not go by itself is killed. Stopping where no machine
// runs is no error. The logs stay in the state folder.
func (m *Machine) Stop(ctx context.Context) error {
	if m.leash != nil {
		defer m.leash.Close()
	}
	for _, step := range []struct {
		signal syscall.Signal
		time   time.Duration
	}{{syscall.SIGTERM, stopTime}, {syscall.SIGKILL, killTime}} {
		if held, err := m.files.held(); err != nil || !held {
			return err
		}
		if err := m.signalSupervisor(step.signal); err != nil {
			return fmt.Errorf("stopping the machine: %w", err)
		}
		if err := m.awaitUnlock(ctx, step.time); err == nil || ctx.Err() != nil {
			return err
		}
	}
	return fmt.Errorf("stopping the machine in %s: it is still there after SIGKILL", m.files.dir)
}

// signalSupervisor makes sure that the process of that number is the supervisor of this folder.
func (m *Machine) signalSupervisor(s syscall.Signal) error {
	i, err := m.files.readInfo()
	if err != nil {
		return err
	}
	arguments, err := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", i.PID))
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	if !bytes.Contains(arguments, []byte("\x00"+supervisorCommand+"\x00")) {
		return fmt.Errorf("process %d in %s is not a machine's supervisor", i.PID, m.files.info())
	}
	if err := syscall.Kill(i.PID, s); err != nil && !errors.Is(err, syscall.ESRCH) {
		return err
	}
	return nil
}

// awaitUnlock waits until the supervisor is gone.
func (m *Machine) awaitUnlock(ctx context.Context, limit time.Duration) error {
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	tick := time.NewTicker(poll)
	defer tick.Stop()
	for {
		if held, err := m.files.held(); err != nil || !held {
			return err
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return fmt.Errorf("waiting for the machine in %s to end: %w", m.files.dir, ctx.Err())
		}
	}
}
