// SPDX-License-Identifier: Apache-2.0

package machine

import (
	"bytes"
	"fmt"
	"os"
	"strconv"
	"strings"

	"github.com/ambient22/ambient22/internal/lab/machine/guest"
)

// kernelArguments keep the kernel's start short and quiet. What they give up (mitigations, audit) protects
// a machine against its own programs; this one runs nothing but the lab.
func kernelArguments() []string {
	return []string{
		"console=ttyS0", "quiet", "loglevel=4", "panic=-1", "rdinit=/init",
		"mitigations=off", "audit=0", "apparmor=0", "random.trust_cpu=on",
		// The emulated clock is as steady as the host's; checking it costs time and, on a busy host, gives false alarms.
		"tsc=reliable", "no_timer_check", "nowatchdog", "rcupdate.rcu_expedited=1",
		"8250.nr_uarts=1", "cryptomgr.notests", "net.ifnames=0",
		"--", guestCommand,
	}
}

// qemuArguments describe the machine: a serial console into a log file, one virtio serial port on the open socket agentFd,
// and the host's root file system, read-only.
func qemuArguments(c Config, k Kernel, f files, agentFd int) []string {
	accel := accelerator(c)
	cpu := emulatedCPU
	if accel == accelKVM {
		cpu = "host"
	}
	return []string{
		"-nodefaults", "-no-user-config", "-display", "none", "-monitor", "none", "-no-reboot",
		"-machine", "q35,vmport=off,smbus=off,sata=off,usb=off,i8042=off", "-accel", accel, "-cpu", cpu,
		"-smp", strconv.Itoa(c.CPUs), "-m", strconv.Itoa(c.MemoryMB), "-rtc", "base=utc",
		"-kernel", k.Image(), "-initrd", f.initramfs(), "-append", strings.Join(kernelArguments(), " "),
		"-chardev", "file,id=console,path=" + escapeOption(f.console()), "-serial", "chardev:console",
		"-device", "virtio-serial-pci,max_ports=2",
		"-chardev", fmt.Sprintf("socket,id=agent,fd=%d", agentFd),
		"-device", "virtserialport,chardev=agent,name=" + guest.PortName,
		"-fsdev", "local,id=root,path=/,security_model=none,readonly=on,multidevs=remap",
		"-device", "virtio-9p-pci,fsdev=root,mount_tag=" + guest.ShareTag,
	}
}

// escapeOption protects the commas of a value in one of QEMU's option lists.
func escapeOption(value string) string { return strings.ReplaceAll(value, ",", ",,") }

const (
	// emulatedCPU lacks what the emulator is slow at and programs would choose: without AES instructions TLS takes ChaCha20,
	// which the emulator runs at twice the speed of AES-GCM, and faster with SSE than with AVX2.
	emulatedCPU = "max,aes=off,avx2=off"

	accelKVM = "kvm"
	accelTCG = "tcg,thread=multi"
)

// accelerator is KVM where the processor itself says that it can. A /dev/kvm alone proves nothing: inside some
// virtual machines it is there, and a guest on it never gets through its first instructions.
func accelerator(c Config) string {
	cpuinfo, err := os.ReadFile("/proc/cpuinfo")
	if c.NoKVM || err != nil || !hasVirtualization(cpuinfo) {
		return accelTCG
	}
	kvm, err := os.OpenFile("/dev/kvm", os.O_RDWR, 0)
	if err != nil {
		return accelTCG
	}
	kvm.Close()
	return accelKVM
}

func hasVirtualization(cpuinfo []byte) bool {
	for line := range bytes.Lines(cpuinfo) {
		name, flags, _ := bytes.Cut(line, []byte(":"))
		if string(bytes.TrimSpace(name)) != "flags" {
			continue
		}
		for _, flag := range bytes.Fields(flags) {
			if string(flag) == "vmx" || string(flag) == "svm" {
				return true
			}
		}
	}
	return false
}
