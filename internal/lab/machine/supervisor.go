// SPDX-License-Identifier: Apache-2.0

package machine

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"os/signal"
	"runtime"
	"syscall"
	"time"

	"github.com/ambient22/ambient22/internal/lab/agent"
)

// Descriptors that Start gives the supervisor.
const (
	reportFd = 3 // the supervisor writes one report to it
	leashFd  = 4 // ends when the process that started the supervisor does
)

// powerOffTime is how long a machine may take to switch itself off.
const powerOffTime = 5 * time.Second

// report tells Start how starting went.
type report struct {
	Error string `json:"error"`
}

var errStopped = errors.New("stopped")

// supervisor runs QEMU and stands between its serial port and the host's processes.
type supervisor struct {
	config  Config
	kernel  Kernel
	files   files
	lock    *os.File // held until this process ends
	qemu    *exec.Cmd
	ended   chan struct{} // QEMU has ended
	how     error         // how, once it has
	session *agent.Session
}

// runSupervisor is the supervisor's whole life.
func runSupervisor() int {
	// QEMU is killed when the thread that started it ends. This pins the thread to this function.
	runtime.LockOSThread()
	signal.Ignore(syscall.SIGINT, syscall.SIGHUP)
	stop := make(chan os.Signal, 1)
	signal.Notify(stop, syscall.SIGTERM)
	for _, fd := range []int{reportFd, leashFd} {
		syscall.CloseOnExec(fd)
	}
	reports, leash := os.NewFile(reportFd, "report"), os.NewFile(leashFd, "leash")
	callerGone := make(chan struct{})
	go func() {
		_, _ = leash.Read(make([]byte, 1)) // nothing is ever written to it
		close(callerGone)
	}()
	s := &supervisor{ended: make(chan struct{})}
	err := s.start(stop, callerGone)
	ready := report{}
	if err != nil {
		ready.Error = err.Error()
	}
	if json.NewEncoder(reports).Encode(ready) != nil && err == nil {
		err = errStopped // the caller went away just now
	}
	reports.Close()
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	if s.config.EndWithCaller {
		return s.watch(stop, callerGone)
	}
	return s.watch(stop, nil)
}

// start brings the machine up. Whatever it leaves running or lying about when it fails, it removes.
func (s *supervisor) start(stop <-chan os.Signal, callerGone <-chan struct{}) (err error) {
	if err := json.NewDecoder(os.Stdin).Decode(&s.config); err != nil {
		return fmt.Errorf("reading the machine's configuration: %w", err)
	}
	s.files = files{dir: s.config.StateDir}
	if s.kernel, err = FindKernel(s.config.CacheDir); err != nil {
		return err
	}
	if s.lock, err = s.files.acquire(); err != nil {
		return err
	}
	defer func() {
		if err != nil {
			s.kill()
			s.files.clear()
		}
	}()
	if err := s.prepareFolder(); err != nil {
		return err
	}
	conn, err := s.launch()
	if err != nil {
		return err
	}
	if s.session, err = agent.Mux(conn, true, os.Stderr); err != nil {
		return fmt.Errorf("reaching the machine: %w", err)
	}
	if err := s.awaitAgent(stop, callerGone); err != nil {
		return err
	}
	_ = os.Remove(s.files.initramfs()) // it is in the machine's memory now
	listener, err := s.files.listen()
	if err != nil {
		return fmt.Errorf("opening the machine's socket: %w", err)
	}
	go s.relayAll(listener)
	return nil
}

func (s *supervisor) prepareFolder() error {
	s.files.clear()
	for _, old := range []string{s.files.failure(), s.files.console(), s.files.qemuLog()} {
		_ = os.Remove(old) // most often it is not there
	}
	err := s.files.writeInfo(info{PID: os.Getpid(), Started: time.Now(), Kernel: s.kernel.Release, Accel: accelerator(s.config)})
	if err != nil {
		return err
	}
	f, err := os.OpenFile(s.files.initramfs(), os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return fmt.Errorf("writing the machine's initramfs: %w", err)
	}
	err = writeInitramfs(f, s.config, s.kernel)
	return errors.Join(err, f.Close())
}

// launch starts QEMU and returns our end of its serial port.
func (s *supervisor) launch() (io.ReadWriteCloser, error) {
	pair, err := syscall.Socketpair(syscall.AF_UNIX, syscall.SOCK_STREAM|syscall.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, fmt.Errorf("making the machine's serial port: %w", err)
	}
	ours, theirs := os.NewFile(uintptr(pair[0]), "port"), os.NewFile(uintptr(pair[1]), "port")
	defer ours.Close()
	defer theirs.Close()
	conn, err := net.FileConn(ours)
	if err != nil {
		return nil, fmt.Errorf("making the machine's serial port: %w", err)
	}
	messages, err := os.OpenFile(s.files.qemuLog(), os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return nil, fmt.Errorf("opening QEMU's log: %w", err)
	}
	defer messages.Close()
	const firstExtraFile = 3
	s.qemu = exec.Command(s.config.QEMU, qemuArguments(s.config, s.kernel, s.files, firstExtraFile)...)
	s.qemu.Stdout, s.qemu.Stderr, s.qemu.ExtraFiles = messages, messages, []*os.File{theirs}
	s.qemu.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := s.qemu.Start(); err != nil {
		s.qemu = nil
		return nil, fmt.Errorf("starting QEMU (Debian package qemu-system-x86): %w", err)
	}
	go func() {
		s.how = s.qemu.Wait()
		close(s.ended)
	}()
	return conn, nil
}

// awaitAgent waits until the guest answers, and has it set its clock.
func (s *supervisor) awaitAgent(stop <-chan os.Signal, callerGone <-chan struct{}) error {
	answered := make(chan error, 1)
	go func() {
		err := s.hello()
		if err == nil {
			err = s.hello() // the first one had been on its way since before the machine started, and so had its time
		}
		answered <- err
	}()
	select {
	case err := <-answered:
		if err == nil {
			return nil
		}
		select { // the answer fails when QEMU ends, a moment before that is known
		case <-s.ended:
			return s.unexpectedEnd("the machine ended while starting")
		case <-time.After(time.Second):
			return fmt.Errorf("starting the machine: %w\n%s", err, s.files.lastWords())
		}
	case <-s.ended:
		return s.unexpectedEnd("the machine ended while starting")
	case <-time.After(s.config.BootTimeout):
		return fmt.Errorf("starting the machine: no answer within %v\n%s", s.config.BootTimeout, s.files.lastWords())
	case <-stop:
		return fmt.Errorf("starting the machine: %w", errStopped)
	case <-callerGone:
		return fmt.Errorf("starting the machine: %w", errStopped)
	}
}

func (s *supervisor) hello() error {
	stream, err := s.session.Open()
	if err != nil {
		return err
	}
	return agent.Hello(stream, time.Now())
}

// watch waits for the machine's end, or ends it.
func (s *supervisor) watch(stop <-chan os.Signal, callerGone <-chan struct{}) int {
	defer s.files.clear()
	select {
	case <-s.ended:
		err := s.unexpectedEnd("the machine ended by itself")
		fmt.Fprintln(os.Stderr, err)
		if err := os.WriteFile(s.files.failure(), []byte(err.Error()+"\n"), 0o600); err != nil {
			fmt.Fprintln(os.Stderr, "writing down how the machine ended:", err)
		}
		return 1
	case <-stop:
	case <-callerGone:
	}
	go func() {
		if stream, err := s.session.Open(); err == nil {
			_ = agent.PowerOff(stream) // kill follows if it does not work
		}
	}()
	select {
	case <-s.ended:
	case <-time.After(powerOffTime):
		s.kill()
	}
	return 0
}

func (s *supervisor) kill() {
	if s.qemu != nil {
		_ = s.qemu.Process.Kill() // it may have ended already
		<-s.ended
	}
}

func (s *supervisor) unexpectedEnd(what string) error {
	how := "QEMU ended normally"
	if s.how != nil {
		how = "QEMU: " + s.how.Error()
	}
	return fmt.Errorf("%s (%s); its last words:\n%s", what, how, s.files.lastWords())
}

// relayAll joins every connection to the socket with a stream of its own to the guest.
func (s *supervisor) relayAll(listener net.Listener) {
	for {
		conn, err := listener.Accept()
		if err != nil {
			fmt.Fprintln(os.Stderr, "accepting a connection:", err)
			return
		}
		stream, err := s.session.Open()
		if err != nil {
			fmt.Fprintln(os.Stderr, "opening a stream to the machine:", err)
			conn.Close()
			continue
		}
		go relay(conn, stream)
		go relay(stream, conn)
	}
}

// relay copies one direction to its end, which is the end of both: neither peer of this protocol half-closes.
func relay(to, from net.Conn) {
	_, _ = io.Copy(to, from) // a broken connection is an end like any other
	to.Close()
	from.Close()
}
