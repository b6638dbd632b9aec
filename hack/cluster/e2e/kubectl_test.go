// SPDX-License-Identifier: Apache-2.0

//go:build e2e

package e2e

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"os/exec"
	"strings"
	"testing"
	"time"
)

// patience is for what takes seconds on two idle processors.
const patience = 90 * time.Second

// kubectl runs kubectl with the kubeconfig of the environment and returns what it
// printed.
func kubectl(ctx context.Context, stdin string, args ...string) (string, error) {
	cmd := exec.CommandContext(ctx, "kubectl", args...)
	var stderr bytes.Buffer
	cmd.Stdin, cmd.Stderr = strings.NewReader(stdin), &stderr
	out, err := cmd.Output()
	if err != nil {
		return string(out), fmt.Errorf("kubectl %s: %w: %s", strings.Join(args, " "), err, bytes.TrimSpace(stderr.Bytes()))
	}
	return string(out), nil
}

func must(t *testing.T, args ...string) string {
	t.Helper()
	out, err := kubectl(t.Context(), "", args...)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// namespace makes a namespace for one test and removes it, with all in it, after it.
func namespace(t *testing.T, name string) {
	t.Helper()
	must(t, "create", "namespace", name)
	t.Cleanup(func() {
		if t.Failed() {
			shown, _ := kubectl(context.Background(), "", "-n", name, "get", "pods,events", "-o", "wide")
			t.Log(shown)
		}
		if _, err := kubectl(context.Background(), "", "delete", "namespace", name, "--timeout=60s"); err != nil {
			t.Error(err)
		}
	})
	eventually(t, "the namespace's service account", func() error {
		_, err := kubectl(t.Context(), "", "-n", name, "get", "serviceaccount/default", "configmap/kube-root-ca.crt")
		return err
	})
}

// pod is what the tests ask of a pod.
type pod struct {
	Metadata struct{ Name, UID string }
	Spec     struct{ NodeName string }
	Status   struct {
		PodIP             string
		ContainerStatuses []struct {
			Ready        bool
			RestartCount int
		}
	}
}

// pods are those with a label app, by node.
func pods(t *testing.T, namespace, app string) map[string]pod {
	t.Helper()
	list := struct{ Items []pod }{}
	if err := json.Unmarshal([]byte(must(t, "-n", namespace, "get", "pods", "-l", "app="+app, "-o", "json")), &list); err != nil {
		t.Fatal(err)
	}
	byNode := map[string]pod{}
	for _, p := range list.Items {
		byNode[p.Spec.NodeName] = p
	}
	return byNode
}

// get lets a pod make one HTTP request.
func get(ctx context.Context, namespace, pod, url string) (string, error) {
	return kubectl(ctx, "", "-n", namespace, "exec", pod, "--", "/ambientctl", "inside", "get", "--timeout=5s", url)
}

func eventually(t *testing.T, what string, condition func() error) {
	t.Helper()
	deadline := time.Now().Add(patience)
	for {
		err := condition()
		if err == nil {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("waiting for %s: %v", what, err)
		}
		select {
		case <-t.Context().Done():
			t.Fatal(t.Context().Err())
		case <-time.After(100 * time.Millisecond):
		}
	}
}
