// SPDX-License-Identifier: Apache-2.0

// Package machine runs the lab's programs under a kernel that has Geneve, on a host whose own kernel has not: a QEMU
// machine with Debian's kernel, whose root file system is the host's, copy-on-write. HostHasGeneve tells whether it is
// needed.
//
//	m, err := machine.Start(ctx, machine.Config{StateDir: dir})
//	code, err := m.Exec(ctx, agent.Cmd{Path: "ip", Args: []string{"-d", "addr"}, Stdout: os.Stdout, Stderr: os.Stderr})
//	err = m.Stop(ctx)
//
// Start returns when commands can run. The machine then lives on in the background until Stop; another process reaches
// it by Attach with the same state folder. Any number of commands run at once.
//
// # How it works
//
// The caller's own static program does everything: its main hands its arguments to Dispatch before anything else.
// Started as supervisor it builds an initramfs with itself as /init, runs QEMU, and passes connections from a Unix
// socket in the state folder on to the guest, through one virtio serial port. Started by the kernel as /init it prepares the
// machine (package guest) and executes commands (package agent). Neither the host's network nor its files are touched;
// no root is needed, but what the user who runs it can't read is not readable in the machine either.
//
// The supervisor holds a lock in the state folder for as long as it lives, and QEMU dies with it. So a state folder
// tells the truth after any crash: lock free, no machine.
//
// # What to expect
//
// In the machine commands see the host's files at the usual paths and may change them; the changes stay in the machine's
// memory and end with it. What changes on the host while the machine runs may be seen late or never. /run, /proc, /sys and
// /dev are the machine's own. There is no network but what commands make, and lo is up.
//
// Without KVM, on two otherwise idle cores, the first command runs 3 seconds after Start and the machine is off 50
// milliseconds after Stop; a command takes 50 milliseconds, 16 MiB through cat and back 1 second, a TLS 1.3 handshake 20
// milliseconds. TLS carries 20 to 30 MB/s with ChaCha20 and 10 with AES-GCM, which is why the emulated processor has no
// AES instructions: programs then choose ChaCha20 by themselves.
package machine
