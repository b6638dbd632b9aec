// SPDX-License-Identifier: Apache-2.0

package guest

// Names that the host's side of the machine and this package share.
const (
	PortName   = "ambient22.agent" // of the virtio serial port
	ShareTag   = "hostroot"        // mount tag of the host's root file system
	ConfigPath = "/config.json"    // of Config, in the initramfs
	ModulePath = "/modules"        // folder of the modules, in the initramfs
	UpperPath  = "/upper"          // folder in the initramfs whose files cover those of the host
)

// Config tells the guest what the host prepared for it.
type Config struct {
	Hostname string `json:"hostname"`
	// Modules are file names below ModulePath, in the order in which they can be loaded. Drivers are the ones without
	// which there is no root file system and no agent; Modules come after them.
	Drivers []string `json:"drivers"`
	Modules []string `json:"modules"`
	// ModuleTree is the host's folder with all the kernel's modules, for modprobe; Release is the kernel's.
	ModuleTree string `json:"moduleTree"`
	Release    string `json:"release"`
	// Env is the environment of commands that bring none.
	Env []string `json:"env"`
}
