// SPDX-License-Identifier: Apache-2.0

//go:build e2e

package e2e

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"slices"
	"sync"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/ambient22/ambient22/internal/lab/app"
	"github.com/ambient22/ambient22/internal/mesh"
)

// caller is a pod that makes one request as the first thing it does, and ends.
type caller struct {
	*api
	namespace, name, node string
	account               string // its service account
	to                    string // the address of the service that it calls
}

// callerLabel is the label of all of them and of their service accounts.
const callerLabel = "first-caller"

func callerLabels() map[string]string { return map[string]string{"app": callerLabel} }

// start makes the pod.
func (w *world) start(t *testing.T, c caller) *caller {
	t.Helper()
	c.api = w.api
	grace := int64(1)
	pod := &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Name: c.name, Labels: callerLabels()},
		Spec: corev1.PodSpec{
			NodeName: c.node, ServiceAccountName: c.account, RestartPolicy: corev1.RestartPolicyNever, TerminationGracePeriodSeconds: &grace,
			Containers: []corev1.Container{{
				Name: "app", Image: "ambient22.test/app:cluster", ImagePullPolicy: corev1.PullNever,
				Args: []string{"inside", "get", "--json", "--timeout=5s", "http://" + net.JoinHostPort(c.to, "9080") + "/productpage"},
			}},
		},
	}
	if _, err := w.api.CoreV1().Pods(c.namespace).Create(t.Context(), pod, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	return &c
}

// account makes a service account in the namespace that takes part.
func (w *world) account(t *testing.T, name string) {
	t.Helper()
	account := &corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Name: name, Labels: callerLabels()}}
	if _, err := w.api.CoreV1().ServiceAccounts(meshed).Create(t.Context(), account, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
}

// removeCallers deletes all callers and their service accounts.
func (w *world) removeCallers(t *testing.T) {
	for _, namespace := range []string{meshed, outside} {
		if _, err := kubectl(context.Background(), "", "-n", namespace, "delete", "pods,serviceaccounts", "-l", "app="+callerLabel, "--timeout=60s"); err != nil {
			t.Error(err)
		}
	}
}

// answer waits until the request has been made, and returns what the caller saw.
func (c *caller) answer(t *testing.T) (a app.Call) {
	t.Helper()
	eventually(t, "the request of "+c.namespace+"/"+c.name, func() error {
		p, err := c.CoreV1().Pods(c.namespace).Get(t.Context(), c.name, metav1.GetOptions{})
		if err == nil && p.Status.Phase != corev1.PodSucceeded && p.Status.Phase != corev1.PodFailed {
			err = fmt.Errorf("the pod is %s", p.Status.Phase)
		}
		return err
	})
	said, err := c.CoreV1().Pods(c.namespace).GetLogs(c.name, &corev1.PodLogOptions{}).DoRaw(t.Context())
	if err == nil {
		err = json.Unmarshal(said, &a)
	}
	if err != nil {
		t.Fatalf("the request of %s/%s: %v: %s", c.namespace, c.name, err, said)
	}
	return a
}

// refusal waits until the kubelet says that the pod can't start, and returns why.
func (c *caller) refusal(t *testing.T) (why string) {
	t.Helper()
	eventually(t, "the refusal of "+c.namespace+"/"+c.name, func() error {
		found, err := c.events(t.Context(), c.namespace, c.name, "FailedCreatePodSandBox")
		if err != nil {
			return err
		}
		for _, e := range found {
			why = e.Message
		}
		if why == "" {
			return errors.New("no event says so")
		}
		return nil
	})
	return why
}

// takeOff ends the pod of one of our DaemonSets on a node, and leaves those of other
// nodes alone. putBack lets the node have one again.
func (w *world) takeOff(t *testing.T, set, node string) (putBack func()) {
	t.Helper()
	other := nodes()[slices.IndexFunc(nodes(), func(name string) bool { return name != node })]
	w.place(t, set, "OnDelete", `"`+other+`"`)
	putBack = sync.OnceFunc(func() { w.place(t, set, "RollingUpdate", "null") })
	t.Cleanup(putBack)
	eventually(t, "the end of "+set+" on "+node, func() error {
		if p, found := pods(t, mesh.RootNamespace, set)[node]; found {
			return fmt.Errorf("there is still %s", p.Metadata.Name)
		}
		return nil
	})
	return putBack
}

// place says where pods of a DaemonSet may be. The template that it had before makes the
// pods that it has still, so none is replaced.
func (w *world) place(t *testing.T, set, strategy, host string) {
	t.Helper()
	patch := fmt.Sprintf(`{"spec": {"updateStrategy": {"type": %q}, "template": {"spec": {"nodeSelector": {"kubernetes.io/hostname": %s}}}}}`, strategy, host)
	_, err := w.api.AppsV1().DaemonSets(mesh.RootNamespace).Patch(context.WithoutCancel(t.Context()), set, types.MergePatchType, []byte(patch), metav1.PatchOptions{})
	if err != nil {
		t.Error(err)
	}
}
