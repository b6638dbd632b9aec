// SPDX-License-Identifier: Apache-2.0

package host

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// restartAfter keeps a daemon that can't start from using up the processor.
const restartAfter = time.Second

// readyFD is where the first process says "ok" once the host is as it should be,
// or why it can't be.
const readyFD = 3

// environment is what every process of a host starts with.
func environment(cluster string) []string {
	return []string{
		"PATH=" + BinDir + ":/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
		"HOME=/root",
		Marker + "=" + cluster,
	}
}

// InitMain is the first process of a host, which Start runs in the host's new
// namespaces with the file of its Spec. It returns only where the host can't be
// set up.
func InitMain(file string) error {
	ready := os.NewFile(readyFD, "ready")
	i, err := newInit(file)
	if err != nil {
		// The reader may have ended; the error is also this process's own.
		fmt.Fprint(ready, err)
		return errors.Join(err, ready.Close())
	}
	fmt.Fprint(ready, "ok")
	if err := ready.Close(); err != nil {
		return fmt.Errorf("saying that the host is ready: %w", err)
	}
	for index := range i.daemons {
		i.start(index)
	}
	i.reap()
	return nil
}

// daemon is a Daemon and where its output goes: the log is opened before the mounts
// hide its folder.
type daemon struct {
	Daemon
	log *os.File
}

type initProcess struct {
	env     []string
	daemons []daemon

	mu      sync.Mutex
	running map[int]int // process → index of the daemon
}

func newInit(file string) (*initProcess, error) {
	data, err := os.ReadFile(file)
	if err != nil {
		return nil, fmt.Errorf("reading the host's file: %w", err)
	}
	s := &Spec{}
	if err := json.Unmarshal(data, s); err != nil {
		return nil, fmt.Errorf("reading %s: %w", file, err)
	}
	i := &initProcess{env: environment(s.Cluster), running: map[int]int{}}
	for _, d := range s.Daemons {
		log, err := os.OpenFile(s.LogFile(d.Name), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
		if err != nil {
			return nil, fmt.Errorf("opening the log of %s: %w", d.Name, err)
		}
		i.daemons = append(i.daemons, daemon{d, log})
	}
	if err := unix.Sethostname([]byte(s.Name)); err != nil {
		return nil, fmt.Errorf("setting the host name: %w", err)
	}
	return i, s.ownMounts()
}

// start runs a daemon, and tries again later where that fails or somebody wants it to
// stay away for now.
func (i *initProcess) start(index int) {
	d := i.daemons[index]
	if stopped(d.Name) {
		time.AfterFunc(restartAfter, func() { i.start(index) })
		return
	}
	i.mu.Lock() // reap must not see the process end before it is in the map
	defer i.mu.Unlock()
	null, err := os.Open(os.DevNull)
	if err == nil {
		defer null.Close()
		var p *os.Process
		p, err = os.StartProcess(filepath.Join("/", d.Args[0]), d.Args, &os.ProcAttr{
			Dir: "/", Env: i.env, Files: []*os.File{null, d.log, d.log},
			Sys: &unix.SysProcAttr{Setsid: true},
		})
		if err == nil {
			i.running[p.Pid] = index
			// reap waits for every process, by number.
			err = p.Release()
		}
	}
	if err != nil {
		fmt.Fprintf(d.log, "host: starting %s: %v\n", d.Name, err)
		time.AfterFunc(restartAfter, func() { i.start(index) })
	}
}

// reap takes the exit codes of daemons and of every process whose parent has
// ended. It goes on for as long as the host is there.
func (i *initProcess) reap() {
	for {
		var status unix.WaitStatus
		pid, err := unix.Wait4(-1, &status, 0, nil)
		if errors.Is(err, unix.ECHILD) {
			time.Sleep(restartAfter) // no daemon runs; one will be started again
			continue
		}
		if err != nil {
			continue // interrupted
		}
		i.mu.Lock()
		index, ours := i.running[pid]
		delete(i.running, pid)
		i.mu.Unlock()
		if ours {
			fmt.Fprintf(i.daemons[index].log, "host: %s ended (%s), starting it again\n", i.daemons[index].Name, describe(status))
			time.AfterFunc(restartAfter, func() { i.start(index) })
		}
	}
}

func describe(s unix.WaitStatus) string {
	if s.Signaled() {
		return "signal " + unix.SignalName(s.Signal())
	}
	return fmt.Sprintf("exit code %d", s.ExitStatus())
}
