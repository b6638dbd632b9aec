// SPDX-License-Identifier: Apache-2.0

package deploy

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"strings"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
)

const kindNamespace = "Namespace"

func newNamespace(name string) *unstructured.Unstructured {
	o := &unstructured.Unstructured{}
	o.SetAPIVersion("v1")
	o.SetKind(kindNamespace)
	o.SetName(name)
	return o
}

// claimed is a namespace as it is to be applied: marked as made by us where it is
// not there yet or was made by us, and without a mark where it was there before. Nil
// says that there is nothing to apply.
func claimed(o, live *unstructured.Unstructured) (*unstructured.Unstructured, error) {
	if live != nil && live.GetDeletionTimestamp() != nil {
		return nil, errors.New("it is being deleted; run this again when it is gone")
	}
	o = o.DeepCopy()
	labels, annotations := clone(o.GetLabels()), clone(o.GetAnnotations())
	if live == nil || madeByUs(live) {
		labels[LabelPartOf], annotations[AnnotationCreated] = PartOf, Manager
	} else {
		maps.DeleteFunc(labels, func(name, _ string) bool { return strings.HasPrefix(name, "app.kubernetes.io/") })
		delete(annotations, AnnotationCreated)
		if len(labels)+len(annotations) == 0 {
			return nil, nil
		}
	}
	o.SetLabels(labels)
	o.SetAnnotations(annotations)
	return o, nil
}

// madeByUs reports whether Install made the namespace.
func madeByUs(live *unstructured.Unstructured) bool {
	return live.GetAnnotations()[AnnotationCreated] == Manager
}

func clone(m map[string]string) map[string]string {
	if m == nil {
		return map[string]string{}
	}
	return maps.Clone(m)
}

// ensureNamespace makes our namespace where it is not there.
func (c *Client) ensureNamespace(ctx context.Context) error {
	_, err := c.Kube.CoreV1().Namespaces().Create(ctx, &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{
		Name: Namespace, Labels: map[string]string{LabelPartOf: PartOf, "pod-security.kubernetes.io/enforce": "privileged"},
		Annotations: map[string]string{AnnotationCreated: Manager},
	}}, metav1.CreateOptions{FieldManager: Manager})
	if err != nil && !apierrors.IsAlreadyExists(err) {
		return fmt.Errorf("making namespace %s: %w", Namespace, err)
	}
	return nil
}

// sweepNamespace deletes our namespace, if Install made it and nobody else has
// anything in it. A namespace that stays has nothing of ours on it.
func (u *Uninstaller) sweepNamespace(ctx context.Context) error {
	live, err := u.Client.Dynamic.Resource(namespaces()).Get(ctx, Namespace, metav1.GetOptions{})
	if apierrors.IsNotFound(err) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("reading namespace %s: %w", Namespace, err)
	}
	others, err := u.Client.inhabitants(ctx, Namespace)
	if err != nil {
		return err
	}
	p := printer{u.Out}
	if !madeByUs(live) || len(others) > 0 {
		if len(others) > 0 {
			p.say("namespace %s stays, because there is more in it: %s", Namespace, titles(others))
		} else {
			p.say("namespace %s stays, because \"ambientctl install\" did not make it", Namespace)
		}
		return u.Client.disown(ctx, live)
	}
	if err := u.Client.remove(ctx, live); err != nil {
		return fmt.Errorf("namespace %s: %w", Namespace, err)
	}
	err = poll(ctx, func(ctx context.Context) (bool, error) {
		_, err := u.Client.Dynamic.Resource(namespaces()).Get(ctx, Namespace, metav1.GetOptions{})
		return apierrors.IsNotFound(err), err
	})
	if err != nil {
		return fmt.Errorf("waiting for namespace %s to go: %w", Namespace, err)
	}
	return nil
}

func namespaces() schema.GroupVersionResource {
	return corev1.SchemeGroupVersion.WithResource("namespaces")
}

// inhabitants is what people have put into a namespace. Every namespace has a few
// objects of Kubernetes' own.
func (c *Client) inhabitants(ctx context.Context, namespace string) ([]*unstructured.Unstructured, error) {
	kinds, err := c.removable()
	if err != nil {
		return nil, err
	}
	var found []*unstructured.Unstructured
	for _, kind := range kinds {
		list, err := c.Dynamic.Resource(kind).Namespace(namespace).List(ctx, metav1.ListOptions{Limit: 20})
		if apierrors.IsNotFound(err) || apierrors.IsMethodNotSupported(err) || apierrors.IsServiceUnavailable(err) {
			continue // no kind of a namespace, or not served at the moment
		}
		if err != nil {
			return nil, fmt.Errorf("listing %s: %w", kind.GroupResource(), err)
		}
		for i := range list.Items {
			o := &list.Items[i]
			native := o.GetKind() == "ServiceAccount" && o.GetName() == "default" || o.GetKind() == "ConfigMap" && o.GetName() == "kube-root-ca.crt"
			if !native && o.GetNamespace() == namespace && !ours(o) {
				found = append(found, o)
			}
		}
	}
	return found, nil
}

// disown takes off a namespace what Install put on it, and our label whoever put it
// there.
func (c *Client) disown(ctx context.Context, live *unstructured.Unstructured) error {
	objects := c.Dynamic.Resource(namespaces())
	if applied(live) {
		_, err := objects.Apply(ctx, live.GetName(), newNamespace(live.GetName()), metav1.ApplyOptions{FieldManager: Manager, Force: true})
		if err != nil && !apierrors.IsNotFound(err) {
			return fmt.Errorf("taking our labels off namespace %s: %w", live.GetName(), err)
		}
	}
	patch := fmt.Sprintf(`{"metadata":{"annotations":{%q:null}}}`, AnnotationCreated)
	if ours(live) { // by the plain manifests
		patch = fmt.Sprintf(`{"metadata":{"labels":{%q:null,%q:null,%q:null},"annotations":{%q:null}}}`,
			LabelPartOf, "app.kubernetes.io/name", "app.kubernetes.io/version", AnnotationCreated)
	}
	_, err := objects.Patch(ctx, live.GetName(), types.MergePatchType, []byte(patch), metav1.PatchOptions{FieldManager: Manager})
	if err != nil && !apierrors.IsNotFound(err) {
		return fmt.Errorf("taking our labels off namespace %s: %w", live.GetName(), err)
	}
	return nil
}
