// SPDX-License-Identifier: Apache-2.0

package guest

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/ambient22/ambient22/internal/lab/agent"
)

// Run is the machine's first process. It prints what goes wrong to console and returns only if the machine can't be
// made to work; the kernel then panics and the host's side reports what the console says.
func Run(console io.Writer) error {
	if os.Getpid() != 1 {
		return errors.New("starting the machine's first process: this is not the machine")
	}
	started := time.Now()
	config, err := prepare()
	if err != nil {
		return err
	}
	port, err := openPort(PortName)
	if err != nil {
		return err
	}
	session, err := agent.Mux(port, false, console)
	if err != nil {
		return err
	}
	server := &agent.Server{Spawn: newReaper(), Env: config.Env, SetClock: setClock, PowerOff: powerOff}
	fmt.Fprintf(console, "ambient22: the machine took %v to prepare\n", time.Since(started).Round(time.Millisecond))
	return server.Serve(session.Accept)
}

// prepare makes the machine a place where commands can run.
func prepare() (Config, error) {
	var config Config
	if err := mountAll(kernelFilesystems); err != nil {
		return config, err
	}
	text, err := os.ReadFile(ConfigPath)
	if err != nil {
		return config, fmt.Errorf("reading the machine's configuration: %w", err)
	}
	if err := json.Unmarshal(text, &config); err != nil {
		return config, fmt.Errorf("reading the machine's configuration: %w", err)
	}
	if err := loadModules(config.Drivers); err != nil {
		return config, err
	}
	modules := make(chan error, 1)
	files, err := openModules(config.Modules) // before the root changes
	if err != nil {
		return config, err
	}
	go func() { modules <- files.load() }()
	if err := enterHostRoot(); err != nil {
		return config, err
	}
	if err := mountAll(ownFilesystems); err != nil {
		return config, err
	}
	if err := linkStreams(); err != nil {
		return config, err
	}
	if err := bindModuleTree(config.ModuleTree, config.Release); err != nil {
		return config, err
	}
	if err := unix.Sethostname([]byte(config.Hostname)); err != nil {
		return config, fmt.Errorf("setting the host name: %w", err)
	}
	if err := loopbackUp(); err != nil {
		return config, err
	}
	limits := syscall.Rlimit{Cur: 1 << 20, Max: 1 << 20}
	if err := syscall.Setrlimit(syscall.RLIMIT_NOFILE, &limits); err != nil {
		return config, fmt.Errorf("raising the limit of open files: %w", err)
	}
	return config, <-modules
}

func setClock(now time.Time) error {
	t := unix.NsecToTimespec(now.UnixNano())
	return unix.ClockSettime(unix.CLOCK_REALTIME, &t)
}

// powerOff needs no farewell: nothing in the machine outlives it.
func powerOff() { _ = unix.Reboot(unix.LINUX_REBOOT_CMD_POWER_OFF) }

// loopbackUp sets lo up, which makes the kernel give it 127.0.0.1.
func loopbackUp() error {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return fmt.Errorf("setting lo up: %w", err)
	}
	defer unix.Close(fd)
	request, err := unix.NewIfreq("lo")
	if err != nil {
		return fmt.Errorf("setting lo up: %w", err)
	}
	request.SetUint16(unix.IFF_UP | unix.IFF_RUNNING)
	if err := unix.IoctlIfreq(fd, unix.SIOCSIFFLAGS, request); err != nil {
		return fmt.Errorf("setting lo up: %w", err)
	}
	return nil
}
