// SPDX-License-Identifier: Apache-2.0

//go:build e2e

package e2e

import (
	"context"
	"encoding/json"
	"os"
	"testing"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/clientcmd"

	"github.com/ambient22/ambient22/internal/mesh"
)

// api asks the API server without a process for each question, so that what is
// measured is not how long kubectl takes to start.
type api struct{ kubernetes.Interface }

func newAPI(t *testing.T) *api {
	t.Helper()
	config, err := clientcmd.BuildConfigFromFlags("", os.Getenv("KUBECONFIG"))
	if err != nil {
		t.Fatal(err)
	}
	config.QPS = -1 // as fast as it answers
	client, err := kubernetes.NewForConfig(config)
	if err != nil {
		t.Fatal(err)
	}
	return &api{client}
}

// label sets labels of a namespace, or of a pod in it where one is named; nil takes
// one away.
func (a *api) label(ctx context.Context, namespace, pod string, labels map[string]any) error {
	patch, err := json.Marshal(map[string]any{"metadata": map[string]any{"labels": labels}})
	if err != nil {
		return err
	}
	if pod == "" {
		_, err = a.CoreV1().Namespaces().Patch(ctx, namespace, types.MergePatchType, patch, metav1.PatchOptions{})
	} else {
		_, err = a.CoreV1().Pods(namespace).Patch(ctx, pod, types.MergePatchType, patch, metav1.PatchOptions{})
	}
	return err
}

// ambient are the labels with which a namespace takes part, or takes part no more.
func ambient(on bool) map[string]any {
	if on {
		return map[string]any{mesh.LabelDataplaneMode: mesh.DataplaneModeAmbient}
	}
	return map[string]any{mesh.LabelDataplaneMode: nil}
}

// annotated reports whether a pod carries the annotation of captured pods.
func (a *api) annotated(ctx context.Context, namespace, pod string) (bool, error) {
	p, err := a.CoreV1().Pods(namespace).Get(ctx, pod, metav1.GetOptions{})
	if apierrors.IsNotFound(err) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	_, found := p.Annotations[mesh.AnnotationRedirection]
	return found, nil
}

// events are those about an object with a reason.
func (a *api) events(ctx context.Context, namespace, object, reason string) ([]corev1.Event, error) {
	list, err := a.CoreV1().Events(namespace).List(ctx, metav1.ListOptions{FieldSelector: "involvedObject.name=" + object + ",reason=" + reason})
	if err != nil {
		return nil, err
	}
	return list.Items, nil
}
