// SPDX-License-Identifier: Apache-2.0

package xds

import (
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// ErrServed is returned by Listen when another process serves on the socket.
var ErrServed = errors.New("another controller serves here")

// maxSocketPath is the longest path that fits the kernel's sockaddr_un (unix(7)).
const maxSocketPath = 107

// ListenOption changes how Listen makes the socket.
type ListenOption func(*listenOptions)

type listenOptions struct {
	mode fs.FileMode
}

// WithMode sets the socket's permission bits; 0600 otherwise. Who may open the
// socket must still be allowed by user id.
func WithMode(mode fs.FileMode) ListenOption {
	return func(o *listenOptions) { o.mode = mode.Perm() }
}

// Listen listens on a Unix socket at path. It makes the directory, and replaces
// a socket that a killed process left behind. The error wraps ErrServed if a
// process serves there; whatever is at path and no socket stays, with an error.
// Closing the listener removes the socket.
//
// Two controllers that start at once can't both win: the socket is made under a
// lock, path + ".lock", which the listener holds as long as it lives and the
// kernel gives back however the process ends.
func Listen(path string, options ...ListenOption) (net.Listener, error) {
	o := listenOptions{mode: 0o600}
	for _, option := range options {
		option(&o)
	}
	if len(path) > maxSocketPath {
		return nil, fmt.Errorf("listening on %s: the path has %d bytes and a socket's can have %d at most", path, len(path), maxSocketPath)
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return nil, fmt.Errorf("making the socket's directory: %w", err)
	}
	lock, err := lockFile(path + ".lock")
	if err != nil {
		return nil, fmt.Errorf("listening on %s: %w", path, err)
	}
	l, err := listenLocked(path, o)
	if err != nil {
		lock.release()
		return nil, err
	}
	l.lock = lock
	return l, nil
}

// listenLocked makes the socket; nobody else does so meanwhile.
func listenLocked(path string, o listenOptions) (*socket, error) {
	if err := removeStale(path); err != nil {
		return nil, err
	}
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: path, Net: "unix"})
	if err != nil {
		return nil, fmt.Errorf("listening on %s: %w", path, err)
	}
	l.SetUnlinkOnClose(false) // socket.Close looks first whose it is
	made, err := os.Lstat(path)
	if err == nil {
		err = os.Chmod(path, o.mode)
	}
	if err != nil {
		l.Close()
		return nil, fmt.Errorf("setting the mode of %s: %w", path, err)
	}
	return &socket{UnixListener: l, path: path, made: made}, nil
}

// removeStale removes a socket that nobody answers on.
func removeStale(path string) error {
	info, err := os.Lstat(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("looking for an old socket: %w", err)
	}
	if info.Mode().Type() != fs.ModeSocket {
		return fmt.Errorf("listening on %s: there is a %s that is no socket; remove it, or choose another path", path, fileKind(info))
	}
	conn, err := net.DialTimeout("unix", path, time.Second)
	if err == nil {
		conn.Close()
		return fmt.Errorf("listening on %s: %w: stop it, or choose another path", path, ErrServed)
	}
	if !errors.Is(err, unix.ECONNREFUSED) && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("asking whether somebody serves on the old socket: %w", err)
	}
	if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("removing the old socket: %w", err)
	}
	return nil
}

func fileKind(info fs.FileInfo) string {
	if info.IsDir() {
		return "directory"
	}
	return "file"
}

// socket is the listener that Listen returns.
type socket struct {
	*net.UnixListener
	path string
	made fs.FileInfo
	lock *fileLock
	once sync.Once
}

// Close stops listening and removes the socket, unless another one has taken its
// place at the path.
func (s *socket) Close() error {
	err := s.UnixListener.Close()
	s.once.Do(func() {
		if now, statErr := os.Lstat(s.path); statErr == nil && os.SameFile(now, s.made) {
			err = errors.Join(err, os.Remove(s.path))
		}
		s.lock.release()
	})
	return err
}

// fileLock is an exclusive lock that lives as long as its file is open.
type fileLock struct {
	file *os.File
}

// lockFile takes the lock, or fails with ErrServed at once if it is taken.
func lockFile(path string) (*fileLock, error) {
	for {
		f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
		if err != nil {
			return nil, fmt.Errorf("opening the lock: %w", err)
		}
		if err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
			f.Close()
			if errors.Is(err, unix.EWOULDBLOCK) {
				return nil, fmt.Errorf("%w: it holds %s; stop it, or choose another path", ErrServed, path)
			}
			return nil, fmt.Errorf("locking %s: %w", path, err)
		}
		// Who held it before may have removed the file after we opened it; a lock
		// on a file that has no name any more keeps nobody out.
		opened, err := f.Stat()
		named, namedErr := os.Stat(path)
		if err == nil && namedErr == nil && os.SameFile(opened, named) {
			return &fileLock{file: f}, nil
		}
		f.Close()
	}
}

// release gives the lock back and leaves no file behind.
func (l *fileLock) release() {
	os.Remove(l.file.Name()) // while it is held: see lockFile
	l.file.Close()
}
