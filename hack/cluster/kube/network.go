// SPDX-License-Identifier: Apache-2.0

package kube

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"github.com/ambient22/ambient22/hack/cluster/host"
	"github.com/ambient22/ambient22/internal/lab/netns"
)

// makeNetwork makes the hosts' network namespaces and the link between them: a bridge
// in the control plane's. The machine's own namespace has no part in it.
func (c *Cluster) makeNetwork(ctx context.Context) error {
	for _, name := range Hosts() {
		if err := netns.Create(c.namespace(name)); err != nil {
			return err
		}
	}
	// Sysctls first: "default" is what a new device starts with.
	for _, n := range Nodes() {
		if err := netns.Do(c.namespace(n.Name), writeSysctls); err != nil {
			return fmt.Errorf("setting up the network of %s: %w", n.Name, err)
		}
	}
	if err := ip(ctx, c.namespace(Control), c.bridge()); err != nil {
		return fmt.Errorf("linking the nodes: %w", err)
	}
	for _, n := range Nodes() {
		if err := ip(ctx, c.namespace(n.Name), nodeCommands(n)); err != nil {
			return fmt.Errorf("setting up the network of %s: %w", n.Name, err)
		}
	}
	if err := ip(ctx, c.namespace(Control), podRoutes()); err != nil {
		return fmt.Errorf("leading the control plane to the pods: %w", err)
	}
	return nil
}

func (c *Cluster) namespace(name string) string { return host.Namespace(c.Name, name) }

// bridge makes the link, and the nodes' eth0 on it.
func (c *Cluster) bridge() []string {
	commands := []string{
		"link set lo up",
		"link add br0 mtu " + mtu + " type bridge",
		fmt.Sprintf("address add %s/%d dev br0", controlAddress, subnetBits),
		"link set br0 up",
	}
	for _, n := range Nodes() {
		commands = append(commands,
			fmt.Sprintf("link add %s mtu %s type veth peer name eth0 mtu %s netns %s", n.Name, mtu, mtu, c.namespace(n.Name)),
			"link set "+n.Name+" master br0 up")
	}
	return commands
}

func podRoutes() []string {
	var commands []string
	for _, n := range Nodes() {
		commands = append(commands, fmt.Sprintf("route add %s via %s", n.Pods, n.Address))
	}
	return commands
}

// nodeCommands give a node its address, and tell it where the other's pods are.
func nodeCommands(own Node) []string {
	commands := []string{
		"link set lo up",
		fmt.Sprintf("address add %s/%d broadcast + dev eth0", own.Address, subnetBits),
		"link set eth0 up",
		"route add default via " + controlAddress,
	}
	for _, n := range Nodes() {
		if n != own {
			commands = append(commands, fmt.Sprintf("route add %s via %s", n.Pods, n.Address))
		}
	}
	return commands
}

// writeSysctls makes a namespace a node's: strict reverse path filtering is a
// distribution's default.
func writeSysctls() error {
	for name, value := range map[string]string{
		"net/ipv4/ip_forward": "1", "net/ipv4/conf/all/rp_filter": "1", "net/ipv4/conf/default/rp_filter": "1",
	} {
		if err := os.WriteFile(filepath.Join("/proc/sys", name), []byte(value), 0); err != nil {
			return fmt.Errorf("setting %s: %w", name, err)
		}
	}
	return nil
}

func ip(ctx context.Context, namespace string, commands []string) error {
	cmd := exec.CommandContext(ctx, "ip", "-netns", namespace, "-batch", "-")
	cmd.Stdin = strings.NewReader(strings.Join(commands, "\n") + "\n")
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("running ip: %w: %s", err, strings.TrimSpace(string(out)))
	}
	return nil
}
