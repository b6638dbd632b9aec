// SPDX-License-Identifier: Apache-2.0

package deploy

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/httpstream"
	"k8s.io/client-go/kubernetes/scheme"
	"k8s.io/client-go/tools/remotecommand"
	"k8s.io/client-go/util/exec"
)

// saidBytes is how much of what a command says on its standard error is kept for
// an error.
const saidBytes = 4 << 10

// Exec runs a command in a container and copies what it prints to out. It needs
// the user's right to create pods/exec. An error has what the command said.
func (c *Client) Exec(ctx context.Context, pod *corev1.Pod, container string, command []string, out io.Writer) error {
	request := c.Kube.CoreV1().RESTClient().Post().Resource("pods").Namespace(pod.Namespace).Name(pod.Name).SubResource("exec").
		VersionedParams(&corev1.PodExecOptions{Container: container, Command: command, Stdout: true, Stderr: true}, scheme.ParameterCodec)
	// API servers from 1.29 on speak WebSocket; before, only SPDY.
	newer, err1 := remotecommand.NewWebSocketExecutor(c.config, "GET", request.URL().String())
	older, err2 := remotecommand.NewSPDYExecutor(c.config, "POST", request.URL())
	if err := errors.Join(err1, err2); err != nil {
		return fmt.Errorf("running %s in pod %s: %w", command[0], pod.Name, err)
	}
	executor, err := remotecommand.NewFallbackExecutor(newer, older, func(err error) bool {
		return httpstream.IsUpgradeFailure(err) || httpstream.IsHTTPSProxyError(err)
	})
	if err != nil {
		return fmt.Errorf("running %s in pod %s: %w", command[0], pod.Name, err)
	}
	said := &beginning{most: saidBytes}
	err = executor.StreamWithContext(ctx, remotecommand.StreamOptions{Stdout: out, Stderr: said})
	var exit exec.CodeExitError
	switch {
	case errors.As(err, &exit):
		return fmt.Errorf("%s in pod %s ended with exit code %d: %s", command[0], pod.Name, exit.Code, strings.TrimSpace(said.String()))
	case err != nil:
		return fmt.Errorf("running %s in pod %s: %w", command[0], pod.Name, err)
	}
	return nil
}

// beginning keeps the first bytes that are written to it.
type beginning struct {
	strings.Builder
	most int
}

func (b *beginning) Write(p []byte) (int, error) {
	b.Builder.Write(p[:min(len(p), max(0, b.most-b.Len()))])
	return len(p), nil
}

// OnNode are the pods of ours on a node: the node controller's and the active
// ztunnel's. One that is not there is nil.
func (c *Client) OnNode(ctx context.Context, namespace, node string) (controller, ztunnel *corev1.Pod, err error) {
	one := func(app string) (*corev1.Pod, error) {
		list, err := c.Kube.CoreV1().Pods(namespace).List(ctx, metav1.ListOptions{
			LabelSelector: "app=" + app, FieldSelector: "spec.nodeName=" + node,
		})
		if err != nil {
			return nil, fmt.Errorf("listing the pods of %s on node %s: %w", app, node, err)
		}
		var ready, running []*corev1.Pod
		for i := range list.Items {
			switch pod := &list.Items[i]; {
			case isReady(pod):
				ready = append(ready, pod)
			case pod.Status.Phase == corev1.PodRunning:
				running = append(running, pod)
			}
		}
		if pod := newest(ready); pod != nil {
			return pod, nil
		}
		return newest(running), nil
	}
	controller, err1 := one(NodeController)
	ztunnel, err2 := one(Ztunnel)
	return controller, ztunnel, errors.Join(err1, err2)
}

// NodeNames are the names of the cluster's nodes.
func (c *Client) NodeNames(ctx context.Context) ([]string, error) {
	list, err := c.Kube.CoreV1().Nodes().List(ctx, metav1.ListOptions{})
	if err != nil {
		return nil, fmt.Errorf("listing the nodes: %w", err)
	}
	var names []string
	for _, node := range list.Items {
		names = append(names, node.Name)
	}
	return names, nil
}
