// SPDX-License-Identifier: Apache-2.0

// Package osthread runs code on an operating system thread of its own. Linux
// keeps namespaces per thread: code that moves into another one must not hand
// its thread back to the rest of the program.
package osthread

import (
	"runtime"

	"golang.org/x/sys/unix"
)

// Throwaway runs fn on a thread that ends with it, whatever namespaces fn left
// it in, and returns fn's error. The process's first thread can't end, and would
// go on showing fn's namespaces as the process's own (/proc/PID/ns), so it is
// passed by.
func Throwaway(fn func() error) error {
	done := make(chan error)
	go func() {
		runtime.LockOSThread() // never unlocked: the runtime drops the thread
		if unix.Gettid() != unix.Getpid() {
			done <- fn()
			return
		}
		// Held here, the first thread can't be the next goroutine's.
		defer runtime.UnlockOSThread()
		done <- Throwaway(fn)
	}()
	return <-done
}
