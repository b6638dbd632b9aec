// SPDX-License-Identifier: Apache-2.0

//go:build e2e

package e2e

import (
	"context"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"

	"github.com/ambient22/ambient22/hack/cluster/host"
	"github.com/ambient22/ambient22/internal/lab/netns"
)

// dump is everything that a node shows of its network and of what other programs are
// told there, by the command that shows it.
type dump map[string]string

// shown are the commands.
func shown() []string {
	return []string{
		"iptables-nft-save", "iptables-legacy-save", "ip6tables-nft-save", "ip6tables-legacy-save", "nft --stateless list ruleset",
		"ip rule", "ip -6 rule", "ip route show table all", "ip -6 route show table all", "ip -d link", "ip address", "ipset list",
	}
}

// cniFiles lists the CNI plugins and their settings with their content; ownFiles are
// those that carry our name, where they are not a container runtime's or kubelet's.
const (
	cniFiles = `for f in $(find /etc/cni /opt/cni -type f | sort); do sha256sum $f; done`
	ownFiles = `find /etc /opt /run /var -path '*ambient*' -not -type d -not -path '/var/lib/containerd/*' -not -path '/run/containerd/*' \
-not -path '/var/lib/kubelet/*' -not -path '/var/log/*' | sort`
)

// takeDump lists all of a node.
func takeDump(ctx context.Context, node string) (dump, error) {
	d := dump{}
	for _, command := range shown() {
		out, err := inNetwork(ctx, node, strings.Fields(command)...)
		if err != nil {
			return nil, err
		}
		d[command] = running().ReplaceAllString(out, "")
	}
	// The empty file of a lock that is not held stays: who removed it could let two
	// hold it at once.
	out, err := onHost(ctx, node, "sh", "-c", cniFiles+"\n"+ownFiles)
	if err != nil {
		return nil, err
	}
	d["files"] = out
	d["sysctl"], err = sysctls(node)
	return d, err
}

// running matches what changes by itself: packet counters, iptables-save's comments
// with the time, and the rest of an address's life.
func running() *regexp.Regexp {
	return regexp.MustCompile(`\[[0-9]+:[0-9]+\]|(?m)^#.*\n| expires [0-9]+sec|valid_lft [0-9]+sec|preferred_lft [0-9]+sec`)
}

// sysctls are a node's network settings: the kernel shows those of the network that
// the reader is in.
func sysctls(node string) (string, error) {
	var text strings.Builder
	err := netns.Do(host.Namespace(cluster(), node), func() error {
		return filepath.WalkDir("/proc/sys/net", func(path string, entry fs.DirEntry, err error) error {
			if err != nil {
				return nil // a device has just gone
			}
			// These count, or are random.
			if entry.IsDir() || strings.HasSuffix(path, "nf_conntrack_count") || strings.HasSuffix(path, "stable_secret") {
				return nil
			}
			if value, err := os.ReadFile(path); err == nil {
				fmt.Fprintf(&text, "%s=%s\n", path, strings.TrimSpace(string(value)))
			}
			return nil
		})
	})
	return text.String(), err
}

// differences are the lines that only one of two dumps has.
func (d dump) differences(other dump) []string {
	var all []string
	for command, text := range d {
		if text == other[command] {
			continue
		}
		before, after := lines(text), lines(other[command])
		found := false
		for line := range before {
			if !after[line] {
				all, found = append(all, command+": - "+line), true
			}
		}
		for line := range after {
			if !before[line] {
				all, found = append(all, command+": + "+line), true
			}
		}
		if !found {
			all = append(all, command+": the same lines in another order")
		}
	}
	return all
}

func lines(text string) map[string]bool {
	all := map[string]bool{}
	for line := range strings.Lines(text) {
		all[strings.TrimRight(line, "\n")] = true
	}
	return all
}

// size is how many lines a dump has.
func (d dump) size() (n int) {
	for _, text := range d {
		n += strings.Count(text, "\n")
	}
	return n
}
