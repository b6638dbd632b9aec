// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"strconv"

	"github.com/spf13/pflag"
	corev1 "k8s.io/api/core/v1"

	"github.com/ambient22/ambient22/internal/deploy"
	"github.com/ambient22/ambient22/internal/dump"
)

// dumpKubeFlags say which nodes of which cluster are meant.
type dumpKubeFlags struct {
	cluster   clusterFlags
	namespace string
	nodes     []string
	all       bool
}

func (o *dumpKubeFlags) register(f *pflag.FlagSet) {
	o.cluster.register(f)
	f.StringVarP(&o.namespace, "namespace", "n", deploy.Namespace, "namespace of the node controller and the ztunnels")
	f.StringSliceVar(&o.nodes, "node", nil, "node of a cluster to take a dump of (repeatable)")
	f.BoolVar(&o.all, "all-nodes", false, "take dumps of all nodes of a cluster")
}

// wanted tells whether a cluster's nodes are meant, and not this one.
func (o *dumpKubeFlags) wanted() bool { return o.all || len(o.nodes) > 0 }

func (o *dumpKubeFlags) check() error {
	if o.all && len(o.nodes) > 0 {
		return errors.New("--node and --all-nodes: give one of them")
	}
	if !o.wanted() && (o.cluster.kubeconfig != "" || o.cluster.context != "") {
		return errors.New("--kubeconfig and --context name a cluster: say with --node or --all-nodes of which of its nodes")
	}
	return nil
}

// errNoPod is why a namespace can't be reached through a cluster.
var errNoPod = errors.New("no pod there runs")

// runCluster takes dumps of a cluster's nodes. One that fails does not keep the
// others from being written.
func (o *dumpFlags) runCluster(ctx context.Context, s streams) error {
	client, err := o.kube.cluster.connect(ctx)
	if err != nil {
		return err
	}
	nodes := o.kube.nodes
	if o.kube.all {
		if nodes, err = client.NodeNames(ctx); err != nil {
			return err
		}
	}
	var archives []*dump.Archive
	var failed []error
	for _, node := range nodes {
		a, err := o.fromNode(ctx, client, node)
		if err != nil {
			failed = append(failed, fmt.Errorf("taking a dump of node %s: %w", node, err))
			continue
		}
		archives = append(archives, a)
	}
	if len(archives) > 0 {
		failed = append(failed, o.write(s, archives...))
	}
	return errors.Join(failed...)
}

// fromNode runs dump in the pods of ours on a node, each of which sees its own
// network namespace only.
func (o *dumpFlags) fromNode(ctx context.Context, client *deploy.Client, node string) (*dump.Archive, error) {
	controller, ztunnel, err := client.OnNode(ctx, o.kube.namespace, node)
	if err != nil {
		return nil, err
	}
	if controller == nil && ztunnel == nil {
		return nil, fmt.Errorf("neither the node controller nor a ztunnel runs there in namespace %s (does the node exist?)", o.kube.namespace)
	}
	host, err1 := o.inPod(ctx, client, controller, deploy.NodeController, dump.HostSpace)
	proxy, err2 := o.inPod(ctx, client, ztunnel, deploy.Ztunnel, dump.ZtunnelSpace)
	if err1 != nil && err2 != nil {
		return nil, errors.Join(err1, err2)
	}
	a := cmp.Or(host, proxy)
	if host != nil && proxy != nil {
		a.Join(proxy)
	}
	a.Header.Node = node
	if err1 != nil {
		a.Gap(dump.HostSpace, "", err1.Error())
	}
	if err2 != nil {
		a.Gap(dump.ZtunnelSpace, "", err2.Error())
	}
	a.Gap("", "", "the pods' namespaces can't be reached through the cluster's API; dump on the node itself takes them")
	return a, nil
}

func (o *dumpFlags) inPod(ctx context.Context, client *deploy.Client, pod *corev1.Pod, container, space string) (*dump.Archive, error) {
	if pod == nil {
		return nil, fmt.Errorf("%s: %w", container, errNoPod)
	}
	var packed bytes.Buffer
	command := []string{
		"/usr/local/bin/ambientctl", "dump", "--only", space, "--out", "-", "--node-addr", o.NodeAddr, "--admin-addr", o.AdminAddr,
		"--timeout", o.Timeout.String(), "--max-connections", strconv.Itoa(o.MaxConns),
	}
	if err := client.Exec(ctx, pod, container, command, &packed); err != nil {
		return nil, err
	}
	archives, err := dump.LoadFrom(&packed)
	if err != nil {
		return nil, fmt.Errorf("reading what pod %s sent: %w", pod.Name, err)
	}
	if len(archives) != 1 {
		return nil, fmt.Errorf("pod %s sent %d dumps", pod.Name, len(archives))
	}
	archives[0].Only(space)
	return archives[0], nil
}
