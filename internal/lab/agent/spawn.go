// SPDX-License-Identifier: Apache-2.0

package agent

import (
	"os"
	"path/filepath"
	"strings"
	"syscall"
)

// Spawner starts a process and tells its end.
type Spawner interface {
	// Spawn is syscall.ForkExec, plus a channel on which the process's status arrives once, after it has been reaped.
	Spawn(path string, argv []string, attr *syscall.ProcAttr) (pid int, exited <-chan syscall.WaitStatus, err error)
}

// Forker is the Spawner of an ordinary process: each child is waited for by its number.
type Forker struct{}

// Spawn implements Spawner.
func (Forker) Spawn(path string, argv []string, attr *syscall.ProcAttr) (int, <-chan syscall.WaitStatus, error) {
	pid, err := syscall.ForkExec(path, argv, attr)
	if err != nil {
		return 0, nil, err
	}
	exited := make(chan syscall.WaitStatus, 1)
	go func() {
		var status syscall.WaitStatus
		for {
			if _, err := syscall.Wait4(pid, &status, 0, nil); err != syscall.EINTR {
				break
			}
		}
		exited <- status
	}()
	return pid, exited, nil
}

// lookPath finds the file a command names, the way a shell started with env in dir would.
func lookPath(name, dir string, env []string) (string, error) {
	if strings.Contains(name, "/") {
		if !filepath.IsAbs(name) {
			name = filepath.Join(dir, name)
		}
		if code, why := executable(name); code != 0 {
			return "", &StartError{Code: code, Message: name + ": " + why}
		}
		return name, nil
	}
	best := &StartError{Code: 127, Message: name + ": command not found"}
	for _, folder := range filepath.SplitList(getenv(env, "PATH")) {
		file := filepath.Join(dir, folder, name)
		if filepath.IsAbs(folder) {
			file = filepath.Join(folder, name)
		}
		code, why := executable(file)
		if code == 0 {
			return file, nil
		}
		if code == 126 {
			best = &StartError{Code: code, Message: file + ": " + why}
		}
	}
	return "", best
}

// executable gives the shell's code for a file that can't be executed, with the reason, or 0.
func executable(file string) (code int, why string) {
	info, err := os.Stat(file)
	switch {
	case err != nil:
		return 127, "no such file"
	case info.IsDir():
		return 126, "is a folder"
	case info.Mode()&0o111 == 0:
		return 126, "permission denied"
	}
	return 0, ""
}

// getenv returns the last value of name in env, the one that a process would see.
func getenv(env []string, name string) string {
	value := ""
	for _, e := range env {
		if v, ok := strings.CutPrefix(e, name+"="); ok {
			value = v
		}
	}
	return value
}
