// SPDX-License-Identifier: Apache-2.0

// Package guest is the inside of the lab's QEMU machine: the first process (PID 1) of its kernel.
//
// The machine's only files of its own are in an initramfs: this program, kernel modules and a configuration. Run loads
// the modules, mounts the host's root file system, which QEMU shares read-only by 9p, under an overlay in memory, and
// moves into it. So commands in the machine see the host's programs, libraries and files at their usual paths and may change
// any of them; the changes are gone with the machine and never reach the host. /run, /dev, /proc and /sys are the
// machine's own. Then it serves the agent on a virtio serial port and reaps every orphan.
//
// The machine has no network but what its commands make, and no user but root.
package guest
