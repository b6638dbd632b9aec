// SPDX-License-Identifier: Apache-2.0

package hosts

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/ambient22/ambient22/internal/lab/netns"
	"github.com/ambient22/ambient22/internal/lab/topology"
)

// Build makes the namespaces, links, addresses and routes, sets the sysctls, and
// loads the nodes' own iptables rules from the topology's folder. What it made
// before an error stays for Destroy.
func (n *Net) Build(ctx context.Context, folder fs.FS) error {
	if err := n.makeDirs(); err != nil {
		return err
	}
	for _, host := range n.Topology.Hosts() {
		if err := n.makeHost(host); err != nil {
			return err
		}
	}
	if err := n.linkNodes(); err != nil {
		return err
	}
	for i := range n.Topology.Pods {
		if err := n.linkPod(&n.Topology.Pods[i]); err != nil {
			return err
		}
	}
	for i := range n.Topology.Nodes {
		if err := n.loadRules(ctx, folder, &n.Topology.Nodes[i]); err != nil {
			return err
		}
	}
	return n.awaitLinks(ctx)
}

// AddPod hangs one more pod on a running node. Destroy does not know of it, unless it
// is in the topology by then.
func (n *Net) AddPod(ctx context.Context, p topology.Pod) error {
	n.Topology.Pods = append(n.Topology.Pods, p)
	if err := n.makeHost(p.Host); err != nil {
		return err
	}
	if err := n.linkPod(&p); err != nil {
		return err
	}
	return n.awaitLinks(ctx)
}

// RemovePod ends every process in a pod and takes it away.
func (n *Net) RemovePod(ctx context.Context, host string) error {
	errs := []error{
		n.stopAll(ctx, netns.IDs(n.Namespace(host))),
		netns.Delete(n.Namespace(host)),
		os.RemoveAll(filepath.Join(etcNetns, n.Namespace(host))),
	}
	n.Topology.Pods = slices.DeleteFunc(n.Topology.Pods, func(p topology.Pod) bool { return p.Host == host })
	return errors.Join(errs...)
}

func (n *Net) makeDirs() error {
	for _, dir := range []string{n.Dir, n.tools(), filepath.Join(n.Dir, "log")} {
		if err := os.MkdirAll(dir, 0o755); err != nil {
			return fmt.Errorf("making the lab's folder: %w", err)
		}
	}
	return n.linkTools()
}

// makeHost makes one namespace with its loopback up. Sysctls come before any
// other device, because "default" is what a new device starts with.
func (n *Net) makeHost(host string) error {
	ns := n.Namespace(host)
	if err := netns.Create(ns); err != nil {
		return err
	}
	settings := n.Topology.Sysctls.Pod
	if _, isNode := n.Topology.Node(host); isNode {
		settings = n.Topology.Sysctls.Node
	} else if err := n.writeEtc(host); err != nil {
		return err
	}
	if err := netns.Do(ns, func() error { return writeSysctls(settings) }); err != nil {
		return fmt.Errorf("setting up %s: %w", host, err)
	}
	h, err := handle(ns)
	if err != nil {
		return err
	}
	defer h.Close()
	return up(h, "lo")
}

func writeSysctls(settings map[string]string) error {
	for name, value := range settings {
		path := filepath.Join("/proc/sys", strings.ReplaceAll(name, ".", "/"))
		if err := os.WriteFile(path, []byte(value), 0); err != nil {
			return fmt.Errorf("setting %s=%s: %w", name, value, err)
		}
	}
	return nil
}

// etcNetns is where `ip netns exec` and EnterMain look for files to put over
// those in /etc.
const etcNetns = "/etc/netns"

// writeEtc gives a pod its /etc/hosts: itself and the cluster's services.
func (n *Net) writeEtc(host string) error {
	dir := filepath.Join(etcNetns, n.Namespace(host))
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return fmt.Errorf("making %s: %w", dir, err)
	}
	path := filepath.Join(dir, "hosts")
	if err := os.WriteFile(path, []byte(hostsFile(n.Topology, host)), 0o644); err != nil {
		return fmt.Errorf("writing %s: %w", path, err)
	}
	return nil
}

func hostsFile(t *topology.Topology, host string) string {
	var b strings.Builder
	b.WriteString("127.0.0.1 localhost\n")
	if p, ok := t.Pod(host); ok {
		fmt.Fprintf(&b, "%s %s\n", p.Address, p.Pod)
	}
	for _, s := range t.Services {
		fmt.Fprintf(&b, "%s %s\n", s.Address, strings.Join(s.Names(), " "))
	}
	return b.String()
}
