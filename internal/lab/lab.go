// SPDX-License-Identifier: Apache-2.0

package lab

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"

	"golang.org/x/sys/unix"

	"github.com/ambient22/ambient22/hack/topologies"
	"github.com/ambient22/ambient22/internal/lab/hosts"
	"github.com/ambient22/ambient22/internal/lab/netns"
	"github.com/ambient22/ambient22/internal/lab/topology"
)

// Lab is one running lab.
type Lab struct {
	Options
	Net *hosts.Net

	folder   fs.FS // the topology's files
	progress *Progress
}

// newLab prepares a lab without touching the machine.
func newLab(o Options, p *Progress) (*Lab, error) {
	folder := topologies.Article()
	t, err := topology.Load(folder)
	if err != nil {
		return nil, err
	}
	l := &Lab{Options: o, folder: folder, progress: p}
	l.Net = &hosts.Net{
		Name: o.Name, Dir: filepath.Join(o.StateDir, o.Name), Topology: t, Variant: o.Iptables,
		Enter: []string{filepath.Join(o.BinDir, "ambientctl"), "inside", "enter"},
	}
	return l, nil
}

// Open finds a lab that is up. It returns ErrDown where none is.
func Open(o Options, p *Progress) (*Lab, error) {
	o, err := o.Defaults()
	if err != nil {
		return nil, err
	}
	s, err := readState(filepath.Join(o.StateDir, o.Name))
	if err != nil {
		return nil, fmt.Errorf("opening the lab %s: %w", o.Name, err)
	}
	o.Iptables, o.Tunnel, o.Profile, o.Dialect, o.BinDir = s.Iptables, s.Tunnel, s.Profile, s.Dialect, s.BinDir
	return newLab(o, p)
}

// Up brings a lab up and waits until its path is ready. On an error it returns
// the lab as far as it got, for Down.
func Up(ctx context.Context, o Options, p *Progress) (*Lab, error) {
	o, err := o.Defaults()
	if err != nil {
		return nil, err
	}
	l, err := newLab(o, p)
	if err != nil {
		return nil, err
	}
	unlock, err := lock(ctx, o.StateDir, o.Name)
	if err != nil {
		return nil, err
	}
	defer unlock()
	if err := l.free(); err != nil {
		return nil, err
	}
	if err := o.state().write(l.Net.Dir); err != nil {
		return l, err
	}
	return l, l.up(ctx)
}

// free makes sure that nothing is there that the lab would have to share.
func (l *Lab) free() error {
	if os.Geteuid() != 0 {
		return errors.New("bringing the lab up: it makes network namespaces, so it must run as root")
	}
	if _, err := readState(l.Net.Dir); !errors.Is(err, ErrDown) {
		if err == nil {
			err = ErrUp
		}
		return fmt.Errorf("bringing up the lab %s: %w; `ambientctl lab down` removes it", l.Name, err)
	}
	for _, ns := range l.Net.Namespaces() {
		if netns.Exists(ns) {
			return fmt.Errorf("bringing up the lab %s: there is a network namespace %s already, and no lab's", l.Name, ns)
		}
	}
	return l.haveBinaries()
}

// binaries are the programs that run in the hosts.
var binaries = [...]string{"ambientctl", "ambient-node", "ztunnel"}

func (o *Options) haveBinaries() error {
	for _, name := range binaries {
		if _, err := exec.LookPath(filepath.Join(o.BinDir, name)); err != nil {
			return fmt.Errorf("finding the binaries: %w (`make build` builds them)", err)
		}
	}
	return nil
}

func (l *Lab) bin(name string) string { return filepath.Join(l.BinDir, name) }

func (l *Lab) up(ctx context.Context) error {
	t := l.Net.Topology
	if err := l.Net.Build(ctx, l.folder); err != nil {
		return err
	}
	l.progress.Step("%d nodes and %d pods are network namespaces %s-...", len(t.Nodes), len(t.Pods), l.Name)
	if err := l.writeManifests(); err != nil {
		return err
	}
	return l.startAll(ctx)
}

// Down takes the lab with this name away: processes, namespaces, files. A lab
// that is not there, or only half there, is no error.
func Down(ctx context.Context, o Options, p *Progress) error {
	o, err := o.Defaults()
	if err != nil {
		return err
	}
	unlock, err := lock(ctx, o.StateDir, o.Name)
	if err != nil {
		return err
	}
	defer unlock()
	dir := filepath.Join(o.StateDir, o.Name)
	if _, err := os.Stat(dir); errors.Is(err, fs.ErrNotExist) {
		return removeLock(o)
	}
	// A state file that can't be read must not keep the lab from going.
	l, err := newLab(o, p)
	if err != nil {
		return err
	}
	if err := l.Net.Destroy(ctx); err != nil {
		return fmt.Errorf("taking down the lab %s: %w", o.Name, err)
	}
	if err := os.RemoveAll(dir); err != nil {
		return fmt.Errorf("removing the lab's folder: %w", err)
	}
	return removeLock(o)
}

// removeLock removes the lock file and, with the last lab, the labs' folder.
func removeLock(o Options) error {
	if err := os.Remove(filepath.Join(o.StateDir, o.Name+".lock")); err != nil {
		return fmt.Errorf("removing the lab's lock: %w", err)
	}
	return removeEmpty(o.StateDir)
}

// removeEmpty removes a folder unless something is in it.
func removeEmpty(dir string) error {
	err := os.Remove(dir)
	if err != nil && !errors.Is(err, unix.ENOTEMPTY) && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("removing the labs' folder: %w", err)
	}
	return nil
}

// Failed takes away what a failed Up left and returns its error. The context may
// be the one that Ctrl-C ended.
func Failed(ctx context.Context, l *Lab, err error) error {
	if l == nil {
		return err
	}
	return errors.Join(err, Down(context.WithoutCancel(ctx), l.Options, l.progress))
}
