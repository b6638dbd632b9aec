// SPDX-License-Identifier: Apache-2.0

package kube

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/ambient22/ambient22/hack/cluster/host"
	"github.com/ambient22/ambient22/hack/cluster/pki"
)

// ErrUp says that a cluster of that name is there, or was not taken away.
var ErrUp = errors.New("the cluster is up already; take it down first")

// pollEvery is how often a condition is looked at again.
const pollEvery = 100 * time.Millisecond

// startPatience is how long the control plane and the nodes may take to be ready;
// two busy processors need some tens of seconds.
const startPatience = 3 * time.Minute

// Up makes the cluster and returns when both nodes are ready for pods. What it made
// before an error stays for Down. The steps are told to said.
func (c *Cluster) Up(ctx context.Context, said func(step string)) error {
	ctx, cancel := context.WithTimeout(ctx, startPatience)
	defer cancel()
	// This folder is the lock and the mark: whoever made it has the name.
	if err := os.MkdirAll(filepath.Dir(c.Dir), 0o755); err != nil {
		return fmt.Errorf("making the cluster's folder: %w", err)
	}
	err := os.Mkdir(c.Dir, 0o700)
	if errors.Is(err, fs.ErrExist) {
		return ErrUp
	}
	if err != nil {
		return fmt.Errorf("making the cluster's folder: %w", err)
	}
	images, err := c.WriteImages(c.Dir)
	if err != nil {
		return err
	}
	if err := c.makeNetwork(ctx); err != nil {
		return err
	}
	if err := c.startHosts(); err != nil {
		return err
	}
	said("hosts started")
	var work errgroup.Group
	work.Go(func() error {
		if err := c.awaitControlPlane(ctx); err != nil {
			return err
		}
		said("control plane ready")
		return nil
	})
	for _, n := range Nodes() {
		work.Go(func() error {
			if err := c.LoadImages(ctx, n.Name, images...); err != nil {
				return err
			}
			said("images loaded on " + n.Name)
			return nil
		})
	}
	if err := work.Wait(); err != nil {
		return err
	}
	for _, n := range Nodes() {
		if err := c.awaitNode(ctx, n); err != nil {
			return err
		}
		said(n.Name + " ready")
	}
	return nil
}

func (c *Cluster) startHosts() error {
	ca, err := pki.NewAuthority(c.Name)
	if err != nil {
		return err
	}
	if err := c.writeAdmin(ca); err != nil {
		return err
	}
	control, err := c.controlHost(ca)
	if err != nil {
		return err
	}
	hosts := []*host.Spec{control}
	for _, n := range Nodes() {
		if err := host.MakeCgroup(c.cgroup() + "/" + n.Name); err != nil {
			return err
		}
		node, err := c.nodeHost(n, ca)
		if err != nil {
			return fmt.Errorf("preparing %s: %w", n.Name, err)
		}
		hosts = append(hosts, node)
	}
	for _, h := range hosts {
		if err := h.Start(c.Init...); err != nil {
			return err
		}
	}
	return nil
}

// LoadImages puts image archives into a node's store.
func (c *Cluster) LoadImages(ctx context.Context, node string, archives ...string) error {
	// containerd makes its socket before it can take images.
	err := wait(ctx, func() error {
		_, err := c.output(ctx, node, nil, "ctr", "--address", containerdSocket, "--namespace", "k8s.io", "images", "list", "--quiet")
		return err
	})
	if err != nil {
		return fmt.Errorf("waiting for containerd on %s: %w", node, err)
	}
	for _, path := range archives {
		archive, err := os.Open(path)
		if err != nil {
			return fmt.Errorf("loading an image: %w", err)
		}
		_, err = c.output(ctx, node, archive, "ctr", "--address", containerdSocket, "--namespace", "k8s.io", "images", "import", "-")
		archive.Close()
		if err != nil {
			return fmt.Errorf("loading %s on %s: %w", path, node, err)
		}
	}
	return nil
}

// output runs a command on a host and returns what it printed.
func (c *Cluster) output(ctx context.Context, name string, stdin *os.File, argv ...string) (string, error) {
	cmd, err := host.Command(ctx, c.Name, name, argv...)
	if err != nil {
		return "", err
	}
	if stdin != nil { // a nil *os.File would be an io.Reader that is not nil
		cmd.Stdin = stdin
	}
	return run(cmd)
}

// Kubectl runs kubectl as the administrator and returns what it printed.
func (c *Cluster) Kubectl(ctx context.Context, args ...string) (string, error) {
	cmd, err := c.Command(ctx, append([]string{"kubectl"}, args...)...)
	if err != nil {
		return "", err
	}
	return run(cmd)
}

func run(cmd *exec.Cmd) (string, error) {
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		return "", fmt.Errorf("running %s: %w: %s", strings.Join(cmd.Args, " "), err, bytes.TrimSpace(stderr.Bytes()))
	}
	return string(out), nil
}

// awaitControlPlane waits for the API, and for the service account that every pod of
// the default namespace needs, which says that the controllers work.
func (c *Cluster) awaitControlPlane(ctx context.Context) error {
	err := wait(ctx, func() error {
		_, err := c.Kubectl(ctx, "get", "--raw=/readyz")
		return err
	})
	if err == nil {
		err = wait(ctx, func() error {
			_, err := c.Kubectl(ctx, "--namespace=default", "get", "serviceaccount/default", "configmap/kube-root-ca.crt")
			return err
		})
	}
	if err != nil {
		return fmt.Errorf("waiting for the control plane: %w", err)
	}
	return nil
}

// awaitNode waits until the kubelet has made its Node, tells the API the node's pod
// range, as a cloud's controller would, and waits until pods can run on it.
func (c *Cluster) awaitNode(ctx context.Context, n Node) error {
	patch := fmt.Sprintf(`{"spec":{"podCIDR":%q,"podCIDRs":[%q]}}`, n.Pods, n.Pods)
	err := wait(ctx, func() error {
		_, err := c.Kubectl(ctx, "patch", "node", n.Name, "--patch", patch)
		return err
	})
	if err == nil {
		_, err = c.Kubectl(ctx, "wait", "--for=condition=Ready", "--timeout=120s", "node/"+n.Name)
	}
	if err == nil {
		err = wait(ctx, func() error { return c.schedulable(ctx, n) })
	}
	if err != nil {
		return fmt.Errorf("waiting for %s: %w", n.Name, err)
	}
	return nil
}

// schedulable looks for the taints that a new node carries for a while.
func (c *Cluster) schedulable(ctx context.Context, n Node) error {
	taints, err := c.Kubectl(ctx, "get", "node", n.Name, "--output=jsonpath={.spec.taints}")
	if err == nil && taints != "" {
		err = errors.New("it has the taints " + taints)
	}
	return err
}

// wait tries until it works or ctx ends, and then returns the last error, too.
func wait(ctx context.Context, try func() error) error {
	for {
		err := try()
		if err == nil {
			return nil
		}
		select {
		case <-ctx.Done():
			return errors.Join(ctx.Err(), err)
		case <-time.After(pollEvery):
		}
	}
}
