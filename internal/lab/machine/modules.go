// SPDX-License-Identifier: Apache-2.0

package machine

import (
	"bufio"
	"fmt"
	"os"
	"path/filepath"
	"strings"
)

// driverModules are what the machine needs to reach its root file system and the host.
func driverModules() []string {
	return []string{"virtio_pci", "virtio_console", "9pnet_virtio", "9p", "overlay"}
}

// labModules are what the lab uses, loaded at start all at once: each of them loaded on demand would cost a modprobe, a
// program started in a slow machine. Anything else is still loaded on demand, from the kernel's whole tree.
func labModules() []string {
	return []string{
		// libcrc32c, which nf_tables and conntrack need, asks the kernel for this one while it starts. Left to itself the kernel
		// would run modprobe for it, and where that is slow or missing the start fails.
		"crc32c_generic",
		"geneve", "vxlan", "veth", "tun", "af_packet",
		"nf_tables", "nft_compat", "nft_chain_nat", "nfnetlink", "nf_conntrack_netlink",
		"ip_tables", "iptable_filter", "iptable_mangle", "iptable_nat", "iptable_raw",
		"ip_set", "ip_set_hash_ip", "xt_set",
		"xt_tcpudp", "xt_comment", "xt_conntrack", "xt_mark", "xt_connmark", "xt_multiport", "xt_addrtype",
		"xt_nat", "xt_REDIRECT", "xt_MASQUERADE", "xt_TPROXY", "xt_socket", "xt_LOG", "nf_log_syslog",
		"inet_diag", "tcp_diag",
	}
}

// moduleTree knows a kernel's modules and what each depends on.
type moduleTree struct {
	dir     string
	file    map[string]string   // by name: path below dir
	needs   map[string][]string // by path: paths
	builtin map[string]bool     // by name
}

// readModuleTree reads the indexes that depmod wrote.
func readModuleTree(dir string) (*moduleTree, error) {
	t := &moduleTree{dir: dir, file: map[string]string{}, needs: map[string][]string{}, builtin: map[string]bool{}}
	err := eachLine(filepath.Join(dir, "modules.dep"), func(line string) {
		file, needs, _ := strings.Cut(line, ":")
		t.file[moduleName(file)] = file
		t.needs[file] = strings.Fields(needs)
	})
	if err != nil {
		return nil, err
	}
	err = eachLine(filepath.Join(dir, "modules.builtin"), func(line string) { t.builtin[moduleName(line)] = true })
	if err != nil {
		return nil, err
	}
	return t, nil
}

func eachLine(file string, do func(string)) error {
	f, err := os.Open(file)
	if err != nil {
		return fmt.Errorf("reading the kernel's modules: %w", err)
	}
	defer f.Close()
	lines := bufio.NewScanner(f)
	for lines.Scan() {
		do(lines.Text())
	}
	if err := lines.Err(); err != nil {
		return fmt.Errorf("reading the kernel's modules from %s: %w", file, err)
	}
	return nil
}

// moduleName is the kernel's name of a module file: dashes count as underscores.
func moduleName(file string) string {
	name, _, _ := strings.Cut(filepath.Base(file), ".")
	return strings.ReplaceAll(name, "-", "_")
}

// loadOrder returns the files (below dir) of the named modules and of all that they need, each after what it needs and
// none that is in loaded, to which it adds them. A module that this kernel does not have is an error.
func (t *moduleTree) loadOrder(names []string, loaded map[string]bool) ([]string, error) {
	var order []string
	var add func(file string)
	add = func(file string) {
		if loaded[file] {
			return
		}
		loaded[file] = true
		for _, need := range t.needs[file] {
			add(need)
		}
		order = append(order, file)
	}
	for _, name := range names {
		name = moduleName(name)
		file, ok := t.file[name]
		switch {
		case ok:
			add(file)
		case !t.builtin[name]:
			return nil, fmt.Errorf("looking for kernel module %s in %s: %w", name, t.dir, os.ErrNotExist)
		}
	}
	return order, nil
}
