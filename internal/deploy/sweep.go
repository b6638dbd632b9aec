// SPDX-License-Identifier: Apache-2.0

package deploy

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/runtime/schema"
)

// inventory is every object of ours, the namespace aside: those with our label, which
// the programs put on what they make as well, and requests for certificates, of
// which one stands for all.
func (c *Client) inventory(ctx context.Context) ([]*unstructured.Unstructured, error) {
	all, err := c.labelled(ctx)
	if err != nil {
		return nil, err
	}
	all = slices.DeleteFunc(all, func(o *unstructured.Unstructured) bool { return o.GetKind() == kindNamespace })
	requests, err := c.Dynamic.Resource(certificateRequests()).List(ctx, metav1.ListOptions{FieldSelector: bySigner(), Limit: 1})
	if err != nil {
		return nil, fmt.Errorf("listing certificate signing requests: %w", err)
	}
	for i := range requests.Items {
		all = append(all, &requests.Items[i])
	}
	return all, nil
}

func certificateRequests() schema.GroupVersionResource {
	return schema.GroupVersionResource{Group: "certificates.k8s.io", Version: "v1", Resource: "certificatesigningrequests"}
}

func bySigner() string { return fields.OneTermEqualSelector("spec.signerName", SignerName).String() }

// sweep deletes all objects, what runs first, and waits until they are gone. away
// are the nodes whose kubelets can't say that a pod has ended.
func (u *Uninstaller) sweep(ctx context.Context, away map[string]bool) error {
	wait, cancel := context.WithTimeout(ctx, u.Timeout)
	defer cancel()
	var left []*unstructured.Unstructured
	for _, stage := range []func(*unstructured.Unstructured) bool{runs, func(*unstructured.Unstructured) bool { return true }} {
		err := poll(wait, func(ctx context.Context) (bool, error) {
			all, err := u.Client.inventory(ctx)
			if err != nil {
				return false, err
			}
			left = slices.DeleteFunc(all, func(o *unstructured.Unstructured) bool { return !stage(o) })
			return len(left) == 0, errors.Join(u.Client.removeAll(ctx, left), u.Client.hurry(ctx, left, away))
		})
		if err != nil {
			if len(left) > 0 {
				err = fmt.Errorf("%w; still there: %s", err, titles(left))
			}
			return fmt.Errorf("deleting the objects: %w; the same command goes on", err)
		}
	}
	if err := u.sweepNamespace(wait); err != nil {
		return err
	}
	return u.Client.sweepEvents(wait)
}

// runs tells what makes other objects from what does not.
func runs(o *unstructured.Unstructured) bool {
	return slices.Contains([]string{"DaemonSet", "Deployment", "ReplicaSet", "StatefulSet", "Job", "Pod"}, o.GetKind())
}

// removeAll deletes objects that are not being deleted already. What has an owner
// goes with it.
func (c *Client) removeAll(ctx context.Context, objects []*unstructured.Unstructured) error {
	var faults []error
	for _, o := range slices.Backward(inOrder(objects)) {
		if o.GetDeletionTimestamp() != nil || metav1.GetControllerOf(o) != nil {
			continue
		}
		if o.GetKind() == "CertificateSigningRequest" {
			options := metav1.ListOptions{FieldSelector: bySigner()}
			faults = append(faults, c.Dynamic.Resource(certificateRequests()).DeleteCollection(ctx, metav1.DeleteOptions{}, options))
		}
		if err := c.remove(ctx, o); err != nil {
			faults = append(faults, fmt.Errorf("%s: %w", Title(o), err))
		}
	}
	return errors.Join(faults...)
}

// shortGrace is how many seconds pods get that end when no node leads anything to
// them any more.
const shortGrace = 2

// hurry shortens the time of pods that are ending. On nodes that are away they are
// taken for ended.
func (c *Client) hurry(ctx context.Context, objects []*unstructured.Unstructured, away map[string]bool) error {
	var faults []error
	for _, o := range objects {
		if o.GetKind() != "Pod" || o.GetDeletionTimestamp() == nil {
			continue
		}
		node, _, _ := unstructured.NestedString(o.Object, "spec", "nodeName")
		grace := int64(shortGrace)
		if away[node] {
			grace = 0
		} else if left := o.GetDeletionGracePeriodSeconds(); left == nil || *left <= shortGrace {
			continue
		}
		uid := o.GetUID()
		err := c.Kube.CoreV1().Pods(o.GetNamespace()).Delete(ctx, o.GetName(), metav1.DeleteOptions{
			GracePeriodSeconds: &grace, Preconditions: &metav1.Preconditions{UID: &uid},
		})
		if err != nil && !apierrors.IsNotFound(err) && !apierrors.IsConflict(err) {
			faults = append(faults, fmt.Errorf("ending %s: %w", Title(o), err))
		}
	}
	return errors.Join(faults...)
}

// sweepEvents deletes the events that our programs reported, and those about our
// objects.
func (c *Client) sweepEvents(ctx context.Context) error {
	var faults []error
	for _, component := range components() {
		faults = append(faults, c.deleteEvents(ctx, metav1.NamespaceAll, "source="+component, func(*corev1.Event) bool { return true }))
	}
	faults = append(faults, c.deleteEvents(ctx, Namespace, "", aboutUs))
	return errors.Join(faults...)
}

// aboutUs reports whether an event is about an object of ours, or a pod of one.
func aboutUs(e *corev1.Event) bool {
	name := e.InvolvedObject.Name
	return strings.HasPrefix(name, "ambient22-") || slices.ContainsFunc(components(), func(c string) bool {
		return name == c || strings.HasPrefix(name, c+"-")
	})
}

func (c *Client) deleteEvents(ctx context.Context, namespace, selector string, which func(*corev1.Event) bool) error {
	options := metav1.ListOptions{FieldSelector: selector, Limit: 500}
	for {
		list, err := c.Kube.CoreV1().Events(namespace).List(ctx, options)
		if err != nil {
			return fmt.Errorf("listing events: %w", err)
		}
		for i := range list.Items {
			e := &list.Items[i]
			if !which(e) {
				continue
			}
			err := c.Kube.CoreV1().Events(e.Namespace).Delete(ctx, e.Name, metav1.DeleteOptions{})
			if err != nil && !apierrors.IsNotFound(err) {
				return fmt.Errorf("deleting an event: %w", err)
			}
		}
		if options.Continue = list.Continue; options.Continue == "" {
			return nil
		}
	}
}

// titles names some objects.
func titles(objects []*unstructured.Unstructured) string {
	const most = 10
	var names []string
	for _, o := range objects {
		name := Title(o)
		if at := o.GetDeletionTimestamp(); at != nil {
			name += fmt.Sprintf(" (being deleted for %v)", time.Since(at.Time).Round(time.Second))
		}
		if finalizers := o.GetFinalizers(); len(finalizers) > 0 {
			name += " (held by " + strings.Join(finalizers, ", ") + ")"
		}
		names = append(names, name)
	}
	if more := len(names) - most; more > 0 {
		names = append(names[:most], fmt.Sprintf("and %d more", more))
	}
	return strings.Join(names, ", ")
}
