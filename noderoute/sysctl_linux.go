// SPDX-License-Identifier: Apache-2.0

package noderoute

import (
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strings"

	"golang.org/x/sys/unix"
)

// A setting under /proc/sys/net belongs to the network namespace of the thread
// that opens the file, so these functions run on a session's thread.

// procSys is where settings are read. A container that is not privileged may
// read there and not write; Options.ProcSys is for writing.
const procSys = "/proc/sys"

func (y Sysctl) path(root string) string {
	return root + "/net/ipv4/conf/" + y.Device + "/" + y.Key
}

// readSysctl returns "", fs.ErrNotExist where there is no such device. It uses
// system calls directly: a node has thousands of these files, and the runtime's
// poller has no use for them.
func readSysctl(y Sysctl) (string, error) {
	path := y.path(procSys)
	fd, err := unix.Open(path, unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return "", &fs.PathError{Op: "open", Path: path, Err: err}
	}
	defer unix.Close(fd)
	var buf [32]byte
	n, err := unix.Read(fd, buf[:])
	if err != nil {
		return "", &fs.PathError{Op: "read", Path: path, Err: err}
	}
	return strings.TrimSpace(string(buf[:n])), nil
}

func (s *session) writeSysctl(y Sysctl) error {
	path := y.path(s.node.options.ProcSys)
	fd, err := unix.Open(path, unix.O_WRONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return &fs.PathError{Op: "open", Path: path, Err: err}
	}
	defer unix.Close(fd)
	if _, err := unix.Write(fd, []byte(y.Value)); err != nil {
		return &fs.PathError{Op: "write", Path: path, Err: err}
	}
	return nil
}

// readSysctls reads the present values of settings; those of devices that do
// not exist are left out.
func readSysctls(settings []Sysctl) (map[Sysctl]string, error) {
	out := make(map[Sysctl]string, len(settings))
	for _, y := range settings {
		value, err := readSysctl(y)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return nil, fmt.Errorf("reading sysctl: %w", err)
		}
		out[Sysctl{Device: y.Device, Key: y.Key}] = value
	}
	return out, nil
}

// setSysctls changes settings, after what they were is safe in the state file.
// Of our own tunnel devices nothing is remembered, they go away as a whole.
func (s *session) setSysctls(changes []sysctlChange, own []string) error {
	var todo []Sysctl
	news := false
	for _, ch := range changes {
		from, err := readSysctl(ch.Sysctl)
		if errors.Is(err, fs.ErrNotExist) {
			continue // a pod went away meanwhile, and its veth with it
		}
		if err != nil {
			return fmt.Errorf("reading sysctl: %w", err)
		}
		if from == ch.Value {
			continue
		}
		if !slices.Contains(own, ch.Device) {
			index, err := s.sysctlIndex(ch.Device)
			if errors.Is(err, unix.ENODEV) {
				continue
			}
			if err != nil {
				return err
			}
			origin := sysctlOrigin{Device: ch.Device, Index: index, Key: ch.Key, Original: from, Set: ch.Value}
			news = s.state.remember(origin) || news
		}
		todo = append(todo, ch.Sysctl)
	}
	if news {
		if err := s.saveState(); err != nil {
			return err
		}
	}
	for _, y := range todo {
		err := s.writeSysctl(y)
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("writing sysctl: %w", err)
		}
		s.result.SysctlWrites++
	}
	return nil
}

// restoreSysctls puts settings back for which pick says so. A device that is
// gone, or whose name another one has by now, has nothing to be put back; a
// value that somebody else set meanwhile stays.
func (s *session) restoreSysctls(pick func(sysctlOrigin) bool) error {
	var errs error
	var kept []sysctlOrigin
	for _, o := range s.state.Sysctls {
		if !pick(o) {
			kept = append(kept, o)
			continue
		}
		if err := s.restoreSysctl(o); err != nil {
			errs = errors.Join(errs, err)
			kept = append(kept, o)
		}
	}
	s.state.setSysctls(kept)
	return errs
}

// releaseSysctls is restoreSysctls for settings that are not needed any more
// while the rest of the data path stays.
func (s *session) releaseSysctls(pick func(sysctlOrigin) bool) error {
	before := len(s.state.Sysctls)
	err := s.restoreSysctls(pick)
	if len(s.state.Sysctls) != before {
		err = errors.Join(err, s.saveState())
	}
	return err
}

func (s *session) restoreSysctl(o sysctlOrigin) error {
	index, err := s.sysctlIndex(o.Device)
	if errors.Is(err, unix.ENODEV) || (err == nil && index != o.Index) {
		return nil
	}
	if err != nil {
		return err
	}
	y := Sysctl{Device: o.Device, Key: o.Key}
	now, err := readSysctl(y)
	if errors.Is(err, fs.ErrNotExist) || (err == nil && now != o.Set) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("reading sysctl: %w", err)
	}
	y.Value = o.Original
	if err := s.writeSysctl(y); err != nil {
		return fmt.Errorf("putting sysctl back: %w", err)
	}
	s.result.SysctlWrites++
	s.result.Changes = append(s.result.Changes, fmt.Sprintf("sysctl %s (was %s)", y, now))
	return nil
}

func (s *session) sysctlIndex(device string) (int, error) {
	if device == "all" || device == "default" {
		return 0, nil
	}
	return s.index(device)
}
