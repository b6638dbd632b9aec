// SPDX-License-Identifier: Apache-2.0

package machine

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"time"
)

// Config says what machine to start. Only StateDir must be given.
type Config struct {
	// StateDir is the folder of this one machine: its lock, its socket, its logs. Only its owner may enter it. Machines with
	// different folders know nothing of each other.
	StateDir string `json:"stateDir"`
	// CacheDir holds the kernel (see FindKernel); empty means DefaultCacheDir.
	CacheDir string `json:"cacheDir"`
	// Binary is the program that becomes the machine's first process and its supervisor. It must be static and its main must call
	// Dispatch. Empty means the running program.
	Binary string `json:"binary"`
	// Pack are regular files of the host, by absolute path, that are copied into the machine's memory before it starts.
	// Everything else of the host's is read when it is used, slowly, and is assumed not to change.
	Pack []string `json:"pack"`
	// Env is the environment of commands that bring none.
	Env []string `json:"env"`

	Hostname    string        `json:"hostname"`    // empty means "lab"
	MemoryMB    int           `json:"memoryMB"`    // MiB; zero means 1536
	CPUs        int           `json:"cpus"`        // zero means the host's, at most 4
	BootTimeout time.Duration `json:"bootTimeout"` // how long a start may take; zero means 2 minutes
	QEMU        string        `json:"qemu"`        // the emulator; empty means qemu-system-x86_64 from PATH
	NoKVM       bool          `json:"noKVM"`       // emulate even where the processor could do it itself

	// EndWithCaller ends the machine when the process that started it ends, however that happens. Otherwise the machine
	// runs until Stop.
	EndWithCaller bool `json:"endWithCaller"`
}

const defaultPath = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

// complete fills in defaults, makes paths absolute and checks what can be checked without starting anything.
func (c Config) complete() (Config, error) {
	if c.StateDir == "" {
		return c, errors.New("starting a machine: no state folder given")
	}
	var err error
	if c.CacheDir == "" {
		if c.CacheDir, err = DefaultCacheDir(); err != nil {
			return c, err
		}
	}
	if c.Binary == "" {
		if c.Binary, err = os.Executable(); err != nil {
			return c, fmt.Errorf("finding the running program: %w", err)
		}
	}
	for _, p := range []*string{&c.StateDir, &c.CacheDir, &c.Binary} {
		if *p, err = filepath.Abs(*p); err != nil {
			return c, fmt.Errorf("starting a machine: %w", err)
		}
	}
	for _, f := range c.Pack {
		if !filepath.IsAbs(f) || filepath.Clean(f) != f {
			return c, fmt.Errorf("packing %q for the machine: not a clean absolute path", f)
		}
	}
	if c.Env == nil {
		c.Env = []string{defaultPath, "HOME=/root", "USER=root", "LANG=C.UTF-8", "TERM=dumb"}
	}
	setDefault(&c.Hostname, "lab")
	setDefault(&c.MemoryMB, 1536)
	setDefault(&c.CPUs, min(runtime.NumCPU(), 4))
	setDefault(&c.BootTimeout, 2*time.Minute)
	setDefault(&c.QEMU, "qemu-system-x86_64")
	return c, checkStatic(c.Binary)
}

func setDefault[T comparable](v *T, to T) {
	if *v == *new(T) {
		*v = to
	}
}
