// SPDX-License-Identifier: Apache-2.0

package csr

import (
	"bytes"
	"context"
	"fmt"
	"sync"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/labels"
	certificatesinformers "k8s.io/client-go/informers/certificates/v1"
	coreinformers "k8s.io/client-go/informers/core/v1"
	"k8s.io/client-go/tools/cache"

	"github.com/ambient22/ambient22/internal/ca"
)

// follow watches this node's requests and the trust bundle until ctx ends. It
// returns the store of the requests at once: what was lost before the first list is
// found by that list.
func (s *Source) follow(ctx context.Context, running *sync.WaitGroup) (cache.Store, error) {
	own := func(o *metav1.ListOptions) {
		o.LabelSelector = labels.Set{LabelNode: NodeLabel(s.Node)}.String()
	}
	named := func(o *metav1.ListOptions) {
		o.FieldSelector = fields.OneTermEqualSelector("metadata.name", s.Bundle.Name).String()
	}
	requests := certificatesinformers.NewFilteredCertificateSigningRequestInformer(s.Kubernetes, 0, nil, own)
	bundle := coreinformers.NewFilteredConfigMapInformer(s.Kubernetes, s.Bundle.Namespace, 0, nil, named)
	for _, one := range []struct {
		informer cache.SharedIndexInformer
		handler  cache.ResourceEventHandler
		what     string
	}{
		{requests, s.answers.handler(), "certificatesigningrequests"},
		{bundle, s.bundleHandler(), "the trust bundle"},
	} {
		err := one.informer.SetWatchErrorHandlerWithContext(func(ctx context.Context, _ *cache.Reflector, err error) {
			if ctx.Err() == nil {
				s.Log.Warn("the API server was lost or gave no answer; what is held stays, and it is asked again", "about", one.what, "err", err)
			}
		})
		if err == nil {
			_, err = one.informer.AddEventHandler(one.handler)
		}
		if err != nil {
			return nil, fmt.Errorf("following %s: %w", one.what, err)
		}
		running.Go(func() { one.informer.RunWithContext(ctx) })
	}
	return requests.GetStore(), nil
}

// bundleHandler takes the trust bundle over. One that can't be read, and its
// deletion, change nothing: trusting nobody would end every connection.
func (s *Source) bundleHandler() cache.ResourceEventHandler {
	look := func(o any) {
		c, ok := o.(*corev1.ConfigMap)
		if !ok || c.Name != s.Bundle.Name {
			return
		}
		roots, n, err := ca.ParseBundle([]byte(c.Data[BundleKey]))
		if err != nil {
			s.Log.Error("the trust bundle is unusable; the one before stays in use until the signer has corrected it",
				"config_map", s.Bundle.String(), "key", BundleKey, "err", err)
			return
		}
		if s.trust(roots) {
			s.metrics.roots.Set(float64(n))
			s.Log.Info("took the trust bundle", "config_map", s.Bundle.String(), "roots", n)
		}
	}
	return cache.ResourceEventHandlerFuncs{
		AddFunc:    look,
		UpdateFunc: func(_, now any) { look(now) },
		DeleteFunc: func(any) {
			s.Log.Warn("the trust bundle was deleted; the last one stays in use", "config_map", s.Bundle.String())
		},
	}
}

// trust takes a bundle, and reports whether it is another than before.
func (s *Source) trust(roots []byte) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if bytes.Equal(s.roots, roots) {
		return false
	}
	s.roots = roots
	signal(s.dirty)
	return true
}
