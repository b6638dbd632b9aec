// SPDX-License-Identifier: Apache-2.0

package machine

import (
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode"

	"golang.org/x/sys/unix"
)

// files are the names in a state folder.
type files struct {
	dir string
}

func (f files) lock() string          { return filepath.Join(f.dir, "lock") }
func (f files) info() string          { return filepath.Join(f.dir, "machine.json") }
func (f files) initramfs() string     { return filepath.Join(f.dir, "initramfs.cpio") }
func (f files) console() string       { return filepath.Join(f.dir, "console.log") }
func (f files) qemuLog() string       { return filepath.Join(f.dir, "qemu.log") }
func (f files) supervisorLog() string { return filepath.Join(f.dir, "supervisor.log") }
func (f files) failure() string       { return filepath.Join(f.dir, "failure") }

const socketName = "agent.sock"

// info is what the supervisor writes down for those who look for the machine.
type info struct {
	PID     int       `json:"pid"` // the supervisor's
	Started time.Time `json:"started"`
	Kernel  string    `json:"kernel"` // release
	Accel   string    `json:"accel"`  // QEMU's accelerator
}

func (f files) readInfo() (info, error) {
	var i info
	text, err := os.ReadFile(f.info())
	if err != nil {
		return i, fmt.Errorf("reading the machine's state: %w", err)
	}
	if err := json.Unmarshal(text, &i); err != nil {
		return i, fmt.Errorf("reading the machine's state from %s: %w", f.info(), err)
	}
	return i, nil
}

func (f files) writeInfo(i info) error {
	text, err := json.Marshal(i)
	if err != nil {
		return fmt.Errorf("writing the machine's state: %w", err)
	}
	if err := os.WriteFile(f.info()+".new", append(text, '\n'), 0o600); err != nil {
		return fmt.Errorf("writing the machine's state: %w", err)
	}
	if err := os.Rename(f.info()+".new", f.info()); err != nil {
		return fmt.Errorf("writing the machine's state: %w", err)
	}
	return nil
}

// acquire takes the folder's lock, or returns ErrRunning. The lock belongs to the open file, and so ends with the process.
func (f files) acquire() (*os.File, error) {
	file, err := os.OpenFile(f.lock(), os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, fmt.Errorf("locking the state folder: %w", err)
	}
	err = unix.FcntlFlock(file.Fd(), unix.F_OFD_SETLK, &unix.Flock_t{Type: unix.F_WRLCK})
	if err != nil {
		file.Close()
		if errors.Is(err, unix.EAGAIN) || errors.Is(err, unix.EACCES) {
			return nil, fmt.Errorf("locking the state folder %s: %w", f.dir, ErrRunning)
		}
		return nil, fmt.Errorf("locking the state folder %s: %w", f.dir, err)
	}
	return file, nil
}

// held asks whether a supervisor has the lock, without taking it.
func (f files) held() (bool, error) {
	file, err := os.Open(f.lock())
	if errors.Is(err, os.ErrNotExist) {
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("asking for the state folder's lock: %w", err)
	}
	defer file.Close()
	lock := unix.Flock_t{Type: unix.F_WRLCK}
	if err := unix.FcntlFlock(file.Fd(), unix.F_OFD_GETLK, &lock); err != nil {
		return false, fmt.Errorf("asking for the state folder's lock: %w", err)
	}
	return lock.Type != unix.F_UNLCK, nil
}

// clear removes what belongs to a running machine; the logs and a failure stay to be read.
func (f files) clear() {
	for _, name := range []string{f.info(), f.initramfs(), filepath.Join(f.dir, socketName)} {
		_ = os.Remove(name) // most often it is not there
	}
}

// listen and dial name the socket by way of the folder's descriptor, since a socket's own path must be short.
func (f files) listen() (net.Listener, error) {
	var l net.Listener
	err := f.withShortPath(func(socket string) (err error) {
		l, err = net.Listen("unix", socket)
		if err == nil {
			l.(*net.UnixListener).SetUnlinkOnClose(false) // the short path ends before the listener does
		}
		return err
	})
	return l, err
}

func (f files) dial() (net.Conn, error) {
	var c net.Conn
	err := f.withShortPath(func(socket string) (err error) {
		c, err = net.Dial("unix", socket)
		return err
	})
	return c, err
}

func (f files) withShortPath(do func(socket string) error) error {
	dir, err := os.Open(f.dir)
	if err != nil {
		return err
	}
	defer dir.Close()
	return do("/proc/self/fd/" + strconv.Itoa(int(dir.Fd())) + "/" + socketName)
}

// lastWords are the last lines of the console and of QEMU's own messages.
func (f files) lastWords() string {
	const lines = 25
	var words []string
	for _, log := range []string{f.console(), f.qemuLog()} {
		text, err := os.ReadFile(log)
		if err != nil {
			continue // it never came to writing it
		}
		all := slices.DeleteFunc(strings.Split(string(text), "\n"), noise)
		for _, line := range all[max(0, len(all)-lines):] {
			words = append(words, filepath.Base(log)+": "+printable(line))
		}
	}
	return strings.Join(words, "\n")
}

// noise tells the lines of a console that say nothing to those who don't debug the kernel: of a panic, the stack and the
// registers, which follow its reason and would push it out.
func noise(line string) bool {
	if at, text, ok := strings.Cut(line, "] "); ok && strings.HasPrefix(at, "[") {
		line = text
	}
	registers := len(line) > 3 && line[0] == 'R' && line[3] == ':'
	return strings.TrimSpace(line) == "" || strings.HasPrefix(line, " ") || strings.HasPrefix(line, "Code: ") || registers
}

func printable(line string) string {
	return strings.Map(func(r rune) rune {
		if unicode.IsPrint(r) || r == '\t' {
			return r
		}
		return -1
	}, line)
}
