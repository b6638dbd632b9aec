// SPDX-License-Identifier: Apache-2.0

package kubeapi

import (
	"context"
	"fmt"
	"sync"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/fields"
	coreinformers "k8s.io/client-go/informers/core/v1"
	discoveryinformers "k8s.io/client-go/informers/discovery/v1"
	"k8s.io/client-go/tools/cache"

	"github.com/ambient22/ambient22/internal/kube"
)

// caches hold what is known of the cluster.
type caches struct {
	nodes, namespaces, pods, services, slices, configMap cache.SharedIndexInformer
}

// newCaches prepares one informer for each built-in kind. Pods that have ended are
// not asked for: they take no part and keep no address.
func (s *Source) newCaches() *caches {
	client, all := s.Kubernetes, metav1.NamespaceAll
	running := func(o *metav1.ListOptions) {
		o.FieldSelector = fields.AndSelectors(
			fields.OneTermNotEqualSelector("status.phase", string(corev1.PodSucceeded)),
			fields.OneTermNotEqualSelector("status.phase", string(corev1.PodFailed)),
		).String()
	}
	named := func(o *metav1.ListOptions) {
		o.FieldSelector = fields.OneTermEqualSelector("metadata.name", s.ConfigMap.Name).String()
	}
	return &caches{
		nodes:      coreinformers.NewNodeInformer(client, 0, nil),
		namespaces: coreinformers.NewNamespaceInformer(client, 0, nil),
		pods:       coreinformers.NewFilteredPodInformer(client, all, 0, nil, running),
		services:   coreinformers.NewServiceInformer(client, all, 0, nil),
		slices:     discoveryinformers.NewEndpointSliceInformer(client, all, 0, nil),
		configMap:  coreinformers.NewFilteredConfigMapInformer(client, s.ConfigMap.Namespace, 0, nil, named),
	}
}

// start runs the informers until ctx ends and returns once each has listed its
// kind. Wait returns after the last has ended.
func (s *Source) start(ctx context.Context, running *sync.WaitGroup) error {
	c := s.caches
	for _, one := range []struct {
		informer cache.SharedIndexInformer
		what     string
		trim     cache.TransformFunc
	}{
		{c.nodes, "nodes", trim(trimNode)},
		{c.namespaces, "namespaces", trim(trimNamespace)},
		{c.pods, "pods", trim(trimPod)},
		{c.services, "services", trim(trimService)},
		{c.slices, "endpointslices", trim(trimEndpointSlice)},
		{c.configMap, "configmaps", trim(trimConfigMap)},
	} {
		if err := s.follow(one.informer, one.what, one.trim); err != nil {
			return err
		}
		running.Go(func() { one.informer.RunWithContext(ctx) })
	}
	if _, err := c.pods.AddEventHandler(s.marker.handler()); err != nil {
		return fmt.Errorf("following pods: %w", err)
	}
	cache.WaitForCacheSync(ctx.Done(), c.nodes.HasSynced, c.namespaces.HasSynced, c.pods.HasSynced,
		c.services.HasSynced, c.slices.HasSynced, c.configMap.HasSynced)
	return nil
}

// follow prepares an informer to keep trimmed objects and to wake the source when
// what is kept changes.
func (s *Source) follow(informer cache.SharedIndexInformer, what string, transform cache.TransformFunc) error {
	err := informer.SetTransform(transform)
	if err == nil {
		err = informer.SetWatchErrorHandlerWithContext(func(ctx context.Context, _ *cache.Reflector, err error) {
			if ctx.Err() == nil {
				s.Log.Warn("the API server was lost or gave no answer; what is known stays, and it is asked again", "about", what, "err", err)
			}
		})
	}
	if err == nil {
		_, err = informer.AddEventHandler(cache.ResourceEventHandlerFuncs{
			AddFunc: func(any) { s.changed() },
			UpdateFunc: func(old, now any) {
				if differ(old, now) {
					s.changed()
				}
			},
			DeleteFunc: func(any) { s.changed() },
		})
	}
	if err != nil {
		return fmt.Errorf("following %s: %w", what, err)
	}
	return nil
}

// changed wakes the loop.
func (s *Source) changed() {
	select {
	case s.wake <- struct{}{}:
	default:
	}
}

// objects are all that is known now.
func (s *Source) objects() kube.Objects {
	c := s.caches
	o := kube.Objects{
		Nodes:          kept[*corev1.Node](c.nodes),
		Namespaces:     kept[*corev1.Namespace](c.namespaces),
		Pods:           s.claims.overlay(s.Node, kept[*corev1.Pod](c.pods)),
		Services:       kept[*corev1.Service](c.services),
		EndpointSlices: kept[*discoveryv1.EndpointSlice](c.slices),
	}
	return o
}

func kept[T any](informer cache.SharedIndexInformer) []T {
	var all []T
	for _, o := range informer.GetStore().List() {
		if typed, ok := o.(T); ok {
			all = append(all, typed)
		}
	}
	return all
}
