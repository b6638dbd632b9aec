// SPDX-License-Identifier: Apache-2.0

package lab

import (
	"context"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/ambient22/ambient22/internal/lab/hosts"
	"github.com/ambient22/ambient22/internal/lab/topology"
)

// The daemons of a lab, by the names of their logs.
const (
	nodeDaemon    = "ambient-node"
	ztunnelDaemon = "ztunnel"
	appDaemon     = "app"
)

// Where daemons say that they are ready, each inside its host.
const (
	nodeReady    = "http://127.0.0.1:15014/readyz"
	ztunnelReady = "http://127.0.0.1:15000/ready"
)

// tailLines is how much of a log an error shows.
const tailLines = 20

// Manifests is the folder of Kubernetes objects that the node controllers read.
func (l *Lab) Manifests() string { return filepath.Join(l.Net.Dir, "manifests") }

func (l *Lab) writeManifests() error {
	sub, err := fs.Sub(l.folder, "manifests")
	if err != nil {
		return fmt.Errorf("finding the manifests: %w", err)
	}
	if err := os.CopyFS(l.Manifests(), sub); err != nil {
		return fmt.Errorf("writing the manifests: %w", err)
	}
	return nil
}

// startAll starts every daemon at once and waits for all of them.
func (l *Lab) startAll(ctx context.Context) error {
	t := l.Net.Topology
	group, ctx := errgroup.WithContext(ctx)
	for i := range t.Nodes {
		node := &t.Nodes[i]
		group.Go(func() error { return l.StartNode(ctx, node) })
		if pod, ok := t.Pod(node.Ztunnel); ok {
			group.Go(func() error { return l.startZtunnelPod(ctx, pod, node) })
		}
	}
	for i := range t.Pods {
		if pod := &t.Pods[i]; pod.Serve != 0 {
			group.Go(func() error { return l.StartApp(ctx, pod) })
		}
	}
	return group.Wait()
}

// StartApp starts the HTTP server of a pod.
func (l *Lab) StartApp(ctx context.Context, pod *topology.Pod) error {
	port := strconv.Itoa(int(pod.Serve))
	d, err := l.Net.Start(pod.Host, appDaemon, l.bin("ambientctl"), "inside", "serve", "--name", pod.Pod, "--listen", ":"+port)
	if err != nil {
		return err
	}
	return l.waitReady(ctx, d, "http://"+pod.Address.String()+":"+port+"/health")
}

// StartNode starts a node's controller and waits until the node is programmed.
func (l *Lab) StartNode(ctx context.Context, node *topology.Node) error {
	d, err := l.Net.Start(node.Host, nodeDaemon, append([]string{l.bin("ambient-node")}, l.nodeFlags(node)...)...)
	if err != nil {
		return err
	}
	if err := l.waitReady(ctx, d, nodeReady); err != nil {
		return err
	}
	l.progress.Step("ambient-node on %s is ready", node.Host)
	return nil
}

// nodeFlags leaves --iptables to the node controller's own detection: the node
// has rules in one variant, as a real one.
func (l *Lab) nodeFlags(node *topology.Node) []string {
	return []string{
		"--node", node.Name, "--manifests", l.Manifests(),
		"--state-dir", filepath.Join(l.Net.Dir, node.Host),
		"--xds-socket", l.xdsSocket(node),
		"--ca-dir", l.caDir(),
		"--tunnel", l.Tunnel, "--profile", l.Profile, "--dialect", l.Dialect, "--log-level", l.LogLevel,
	}
}

// caDir is where both node controllers have the mesh's CA.
func (l *Lab) caDir() string { return filepath.Join(l.Net.Dir, "ca") }

func (l *Lab) xdsSocket(node *topology.Node) string {
	return filepath.Join(l.Net.Dir, node.Host, "xds.sock")
}

// startZtunnelPod does what the ztunnel pod's two containers do.
func (l *Lab) startZtunnelPod(ctx context.Context, pod *topology.Pod, node *topology.Node) error {
	if err := l.InitZtunnel(ctx, pod); err != nil {
		return err
	}
	return l.StartZtunnel(ctx, pod, node)
}

// InitZtunnel runs the init container of a ztunnel pod.
func (l *Lab) InitZtunnel(ctx context.Context, pod *topology.Pod) error {
	_, err := l.Net.Output(ctx, pod.Host, l.bin("ztunnel"), "init",
		"--pod-name", pod.Pod, "--iptables", l.Iptables, "--tunnel", l.Tunnel)
	return err
}

// StartZtunnel starts the proxy of a ztunnel pod and waits until it has its
// configuration.
func (l *Lab) StartZtunnel(ctx context.Context, pod *topology.Pod, node *topology.Node) error {
	d, err := l.Net.Start(pod.Host, ztunnelDaemon, l.bin("ztunnel"), "run",
		"--xds-socket", l.xdsSocket(node),
		"--pod-name", pod.Pod, "--pod-namespace", pod.Namespace, "--pod-ip", pod.Address.String(),
		"--node-name", node.Name, "--log-level", l.LogLevel, "--log-format", "json", "--drain", l.Drain.String())
	if err != nil {
		return err
	}
	if err := l.waitReady(ctx, d, ztunnelReady); err != nil {
		return err
	}
	l.progress.Step("ztunnel in %s is ready", pod.Host)
	return nil
}

// pollEvery is the pause between two looks at a condition.
const pollEvery = 50 * time.Millisecond

// waitReady asks url, inside the daemon's host, until it answers 200, the
// daemon ends, or the lab's time for a step is up.
func (l *Lab) waitReady(ctx context.Context, d *hosts.Daemon, url string) error {
	ctx, cancel := context.WithTimeout(ctx, l.Timeout)
	defer cancel()
	tick := time.NewTicker(pollEvery)
	defer tick.Stop()
	for {
		_, err := l.Get(ctx, d.Host, url)
		if err == nil {
			return nil
		}
		if end, ended := d.Ended(); ended {
			return l.withLog(d, fmt.Errorf("starting %s in %s: %w", d.Name, d.Host, end))
		}
		select {
		case <-ctx.Done():
			return l.withLog(d, fmt.Errorf("waiting for %s in %s (%v): %w", d.Name, d.Host, l.Timeout, err))
		case <-tick.C:
		}
	}
}

// withLog adds the end of the daemon's log to an error.
func (l *Lab) withLog(d *hosts.Daemon, err error) error {
	return fmt.Errorf("%w%s", err, l.logEnd(d.Host, d.Name))
}

func (l *Lab) logEnd(host, daemon string) string {
	path := l.Net.LogFile(host, daemon)
	return fmt.Sprintf("\n--- the end of %s:\n%s\n---", path, hosts.Tail(path, tailLines))
}
