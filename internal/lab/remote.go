// SPDX-License-Identifier: Apache-2.0

package lab

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"time"

	"github.com/ambient22/ambient22/internal/lab/agent"
	"github.com/ambient22/ambient22/internal/lab/machine"
)

// Remote is a lab inside a QEMU machine, for a kernel without Geneve. The same
// ambientctl, at the same path, runs the lab there.
type Remote struct {
	Options
	machine *machine.Machine
}

// Streams are a command's standard streams.
type Streams struct {
	In       io.Reader
	Out, Err io.Writer
}

// NeedsMachine reports whether this kernel lacks what the lab's tunnels need.
func NeedsMachine() (bool, error) {
	if os.Geteuid() != 0 {
		return false, errors.New("running the lab: it makes network namespaces, so it must run as root")
	}
	has, err := machine.HostHasGeneve()
	return !has, err
}

func machineDir(o Options) string { return filepath.Join(o.StateDir, o.Name+".machine") }

// StartMachine starts a machine for the lab. With brief it ends with this
// process, however that ends.
func StartMachine(ctx context.Context, o Options, brief bool, p *Progress) (*Remote, error) {
	o, err := o.Defaults()
	if err != nil {
		return nil, err
	}
	if err := o.haveBinaries(); err != nil {
		return nil, err
	}
	p.Step("this kernel has no Geneve: starting a QEMU machine with Debian's kernel")
	if err := os.MkdirAll(o.StateDir, 0o755); err != nil {
		return nil, fmt.Errorf("making the labs' folder: %w", err)
	}
	m, err := machine.Start(ctx, machine.Config{
		StateDir: machineDir(o), Pack: pack(o), EndWithCaller: brief, Hostname: o.Name,
	})
	if errors.Is(err, machine.ErrRunning) {
		return nil, fmt.Errorf("bringing up the lab %s: %w; `ambientctl lab down` removes it", o.Name, ErrUp)
	}
	if err != nil {
		return nil, errors.Join(err, removeMachine(o))
	}
	p.Step("the machine is up")
	return &Remote{Options: o, machine: m}, nil
}

// pack are the files that the machine reads from its memory instead of the
// host's disk.
func pack(o Options) []string {
	var files []string
	for _, name := range binaries {
		files = append(files, filepath.Join(o.BinDir, name))
	}
	return files
}

// OpenMachine finds the machine of a lab that is up in one. It returns ErrDown
// where there is none.
func OpenMachine(o Options) (*Remote, error) {
	o, err := o.Defaults()
	if err != nil {
		return nil, err
	}
	if _, err := os.Stat(machineDir(o)); err != nil {
		return nil, fmt.Errorf("opening the lab %s: %w", o.Name, ErrDown)
	}
	m, err := machine.Attach(machineDir(o))
	if err != nil {
		return nil, fmt.Errorf("opening the lab %s: %w", o.Name, err)
	}
	return &Remote{Options: o, machine: m}, nil
}

// Lab runs an `ambientctl lab` command inside the machine, and returns its exit
// code. args start with the subcommand.
func (r *Remote) Lab(ctx context.Context, s Streams, args ...string) (int, error) {
	cmd := agent.Cmd{
		Path: filepath.Join(r.BinDir, "ambientctl"),
		Args: append([]string{"lab", args[0], "--name", r.Name}, args[1:]...),
		Dir:  "/", Stdin: s.In, Stdout: s.Out, Stderr: s.Err,
	}
	return r.machine.Exec(ctx, cmd)
}

// upFlags are the options that the command inside needs to bring the lab up.
func (r *Remote) upFlags() []string {
	return []string{
		"--here", "--iptables", r.Iptables, "--tunnel", r.Tunnel, "--profile", r.Profile, "--dialect", r.Dialect,
		"--timeout", r.Timeout.String(), "--log-level", r.LogLevel,
	}
}

// Up brings the lab up inside the machine.
func (r *Remote) Up(ctx context.Context, p *Progress) error {
	code, err := r.Lab(ctx, Streams{Err: p.writer()}, append([]string{"up"}, append(r.upFlags(), "--elapsed", p.elapsed())...)...)
	if err == nil && code != 0 {
		err = errors.New("bringing the lab up inside the machine failed, as it says above")
	}
	return err
}

// Run runs the whole lab inside the machine and returns its report, with the
// seconds that the machine itself took in it.
func (r *Remote) Run(ctx context.Context, load bool, p *Progress) (*Report, error) {
	args := append([]string{"run"}, append(r.upFlags(), "--elapsed", p.elapsed(), "--json")...)
	if load {
		args = append(args, "--load")
	}
	var out bytes.Buffer
	code, err := r.Lab(ctx, Streams{Out: &out, Err: p.writer()}, append(args, DefaultName)...)
	if err != nil {
		return nil, err
	}
	report := &Report{}
	if err := json.Unmarshal(out.Bytes(), report); err != nil {
		return nil, fmt.Errorf("running the lab inside the machine failed with exit code %d, as it says above", code)
	}
	report.Machine = true
	report.Seconds = time.Since(p.start).Seconds()
	return report, nil
}

// Stop switches the machine off and removes its files.
func (r *Remote) Stop(ctx context.Context) error {
	if err := r.machine.Stop(ctx); err != nil {
		return err
	}
	return removeMachine(r.Options)
}

// StopMachine takes a lab's machine away, also a half-started one. Where there
// is none, nothing happens.
func StopMachine(ctx context.Context, o Options) error {
	r, err := OpenMachine(o)
	if errors.Is(err, ErrDown) {
		return nil
	}
	if errors.Is(err, machine.ErrNotRunning) {
		return removeMachine(o)
	}
	if err != nil {
		return err
	}
	return r.Stop(ctx)
}

func removeMachine(o Options) error {
	o, err := o.Defaults()
	if err != nil {
		return err
	}
	if err := os.RemoveAll(machineDir(o)); err != nil {
		return fmt.Errorf("removing the machine's folder: %w", err)
	}
	return removeEmpty(o.StateDir)
}
