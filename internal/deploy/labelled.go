// SPDX-License-Identifier: Apache-2.0

package deploy

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"

	"golang.org/x/sync/errgroup"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/discovery"
)

// lists is how many kinds are listed at a time.
const lists = 8

// labelled lists everything that carries our label where ours is put, of whatever
// kind, so that a kind that an earlier or later version knows is found as well.
// Events have no such label.
func (c *Client) labelled(ctx context.Context) ([]*unstructured.Unstructured, error) {
	kinds, err := c.removable()
	if err != nil {
		return nil, err
	}
	var mu sync.Mutex
	found := map[types.UID]*unstructured.Unstructured{} // some kinds are in two groups
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(lists)
	for _, kind := range kinds {
		group.Go(func() error {
			list, err := c.Dynamic.Resource(kind).List(ctx, metav1.ListOptions{LabelSelector: partOf})
			if apierrors.IsNotFound(err) || apierrors.IsMethodNotSupported(err) || apierrors.IsServiceUnavailable(err) {
				return nil // an API that is not served, or not at the moment
			}
			if err != nil {
				return fmt.Errorf("listing %s: %w", kind.GroupResource(), err)
			}
			mu.Lock()
			defer mu.Unlock()
			for i := range list.Items {
				if o := &list.Items[i]; placed(o) {
					found[o.GetUID()] = o
				}
			}
			return nil
		})
	}
	if err := group.Wait(); err != nil {
		return nil, err
	}
	all := make([]*unstructured.Unstructured, 0, len(found))
	for _, o := range found {
		all = append(all, o)
	}
	return inOrder(all), nil
}

// placed reports whether an object is where the chart and the programs put theirs. The
// label alone does not do: somebody may have it on a node, or on an application.
func placed(o *unstructured.Unstructured) bool {
	if o.GetNamespace() != "" {
		return o.GetNamespace() == Namespace
	}
	switch o.GetKind() {
	case kindNamespace, "ClusterRole", "ClusterRoleBinding", "CertificateSigningRequest":
		return true
	}
	return false
}

// removable are the kinds of objects that can be listed and deleted.
func (c *Client) removable() ([]schema.GroupVersionResource, error) {
	groups, err := discovery.ServerPreferredResources(c.Discovery)
	if failed := (*discovery.ErrGroupDiscoveryFailed)(nil); err != nil && !errors.As(err, &failed) {
		return nil, fmt.Errorf("asking which kinds there are: %w", err)
	}
	groups = discovery.FilteredBy(discovery.SupportsAllVerbs{Verbs: []string{"list", "delete"}}, groups)
	var kinds []schema.GroupVersionResource
	for _, group := range groups {
		version, err := schema.ParseGroupVersion(group.GroupVersion)
		if err != nil {
			return nil, fmt.Errorf("asking which kinds there are: %w", err)
		}
		for _, r := range group.APIResources {
			if r.Name != "events" {
				kinds = append(kinds, version.WithResource(r.Name))
			}
		}
	}
	slices.SortFunc(kinds, func(a, b schema.GroupVersionResource) int {
		return strings.Compare(a.String(), b.String())
	})
	return kinds, nil
}

// remove deletes an object and what it owns. It is no error where it is gone.
func (c *Client) remove(ctx context.Context, o *unstructured.Unstructured) error {
	objects, _, err := c.resource(o)
	if err != nil {
		return err
	}
	options := metav1.DeleteOptions{PropagationPolicy: new(metav1.DeletePropagationBackground)}
	if uid := o.GetUID(); uid != "" {
		options.Preconditions = &metav1.Preconditions{UID: &uid}
	}
	err = objects.Delete(ctx, o.GetName(), options)
	if err == nil || apierrors.IsNotFound(err) || apierrors.IsConflict(err) {
		return nil // a conflict: the one that was meant is gone, and another has its name
	}
	return fmt.Errorf("deleting it: %w", err)
}
