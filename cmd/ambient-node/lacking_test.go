// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"runtime"
	"strings"
	"testing"
	"unsafe"

	"golang.org/x/sys/unix"
)

// asProgram makes the test binary be ambient-node, and lackingFeatures names what
// the kernel it runs on shall not have.
const (
	asProgram       = "AMBIENT_NODE_TEST_PROGRAM"
	lackingFeatures = "AMBIENT_NODE_TEST_LACKING"
)

func TestMain(m *testing.M) {
	if os.Getenv(asProgram) == "" {
		os.Exit(m.Run())
	}
	if features := os.Getenv(lackingFeatures); features != "" {
		if err := beLacking(strings.Split(features, ",")); err != nil {
			fmt.Fprintln(os.Stderr, "playing a smaller kernel:", err)
			os.Exit(2)
		}
	}
	ctx, stop := signal.NotifyContext(context.Background(), unix.SIGTERM)
	defer stop()
	os.Exit(run(ctx, os.Args[1:], os.Stdout, os.Stderr))
}

// answers are what a kernel without a feature says to a netlink request, by feature;
// 0 is for requests that it knows.
func answers() map[string]func(kind uint16, message []byte) unix.Errno {
	const subsystemIPSet = 6 // NFNL_SUBSYS_IPSET
	return map[string]func(uint16, []byte) unix.Errno{
		"rules": func(kind uint16, _ []byte) unix.Errno {
			if kind == unix.RTM_NEWRULE || kind == unix.RTM_DELRULE || kind == unix.RTM_GETRULE {
				return unix.EOPNOTSUPP
			}
			return 0
		},
		"sets": func(kind uint16, _ []byte) unix.Errno {
			if kind>>8 == subsystemIPSet {
				return unix.EINVAL
			}
			return 0
		},
		"geneve": func(kind uint16, message []byte) unix.Errno {
			if kind == unix.RTM_NEWLINK && bytes.Contains(message, []byte("geneve")) {
				return unix.EOPNOTSUPP
			}
			return 0
		},
	}
}

// beLacking has the kernel ask this process before each of its (and its children's)
// sendto calls, which carry all netlink requests of the program, and refuses those
// that speak of a lacking feature.
func beLacking(features []string) error {
	var refuse []func(uint16, []byte) unix.Errno
	for _, f := range features {
		answer := answers()[f]
		if answer == nil {
			return fmt.Errorf("nobody knows how to lack %q", f)
		}
		refuse = append(refuse, answer)
	}
	filter := []unix.SockFilter{
		{Code: unix.BPF_LD | unix.BPF_W | unix.BPF_ABS, K: 0}, // the system call's number
		{Code: unix.BPF_JMP | unix.BPF_JEQ | unix.BPF_K, Jt: 0, Jf: 1, K: unix.SYS_SENDTO},
		{Code: unix.BPF_RET | unix.BPF_K, K: unix.SECCOMP_RET_USER_NOTIF},
		{Code: unix.BPF_RET | unix.BPF_K, K: unix.SECCOMP_RET_ALLOW},
	}
	program := unix.SockFprog{Len: uint16(len(filter)), Filter: &filter[0]}
	if err := unix.Prctl(unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0); err != nil {
		return fmt.Errorf("giving up new privileges: %w", err)
	}
	flags := unix.SECCOMP_FILTER_FLAG_NEW_LISTENER | unix.SECCOMP_FILTER_FLAG_TSYNC | unix.SECCOMP_FILTER_FLAG_TSYNC_ESRCH
	listener, _, errno := unix.Syscall(unix.SYS_SECCOMP, unix.SECCOMP_SET_MODE_FILTER, uintptr(flags), uintptr(unsafe.Pointer(&program)))
	if errno != 0 {
		return fmt.Errorf("installing the filter: %w", errno)
	}
	go answer(int(listener), refuse)
	return nil
}

// notification and response are struct seccomp_notif and seccomp_notif_resp.
type notification struct {
	ID          uint64
	PID, Flags  uint32
	Call        int32
	Arch        uint32
	Instruction uint64
	Args        [6]uint64
}

type response struct {
	ID    uint64
	Value int64
	Error int32
	Flags uint32
}

const goOn = 1 // SECCOMP_USER_NOTIF_FLAG_CONTINUE

func answer(listener int, refuse []func(uint16, []byte) unix.Errno) {
	runtime.LockOSThread()
	for {
		var n notification
		if _, _, errno := unix.Syscall(unix.SYS_IOCTL, uintptr(listener), unix.SECCOMP_IOCTL_NOTIF_RECV, uintptr(unsafe.Pointer(&n))); errno != 0 {
			if errors.Is(errno, unix.EINTR) || errors.Is(errno, unix.ENOENT) {
				continue
			}
			return
		}
		r := response{ID: n.ID, Flags: goOn}
		if errno := judge(n, refuse); errno != 0 {
			r = response{ID: n.ID, Error: -int32(errno)}
		}
		// A signal may have ended the call meanwhile; it comes again.
		unix.Syscall(unix.SYS_IOCTL, uintptr(listener), unix.SECCOMP_IOCTL_NOTIF_SEND, uintptr(unsafe.Pointer(&r)))
	}
}

// judge reads the request out of the caller's memory.
func judge(n notification, refuse []func(uint16, []byte) unix.Errno) unix.Errno {
	message := make([]byte, min(n.Args[2], 4096))
	if len(message) < unix.NLMSG_HDRLEN {
		return 0
	}
	local := []unix.Iovec{{Base: &message[0], Len: uint64(len(message))}}
	remote := []unix.RemoteIovec{{Base: uintptr(n.Args[1]), Len: len(message)}}
	if _, err := unix.ProcessVMReadv(int(n.PID), local, remote, 0); err != nil {
		return 0
	}
	for _, f := range refuse {
		if errno := f(binary.NativeEndian.Uint16(message[4:]), message); errno != 0 {
			return errno
		}
	}
	return 0
}
