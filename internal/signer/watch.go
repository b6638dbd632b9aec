// SPDX-License-Identifier: Apache-2.0

package signer

import (
	"context"
	"fmt"
	"sync"
	"time"

	certificatesv1 "k8s.io/api/certificates/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/types"
	certificatesinformers "k8s.io/client-go/informers/certificates/v1"
	coreinformers "k8s.io/client-go/informers/core/v1"
	certificateslisters "k8s.io/client-go/listers/certificates/v1"
	"k8s.io/client-go/tools/cache"
	"k8s.io/client-go/util/workqueue"

	"github.com/ambient22/ambient22/internal/csr"
)

const (
	// workers is how many requests are answered at a time; each is mostly waiting
	// for the API server.
	workers = 16
	// Pauses before a request whose answer failed is tried again.
	firstAgain = 50 * time.Millisecond
	lastAgain  = 30 * time.Second
)

// watchObjects wakes the keeper when the Secret or the ConfigMap changes.
func (s *Signer) watchObjects(ctx context.Context, running *sync.WaitGroup, k *keeper) error {
	named := func(name string) func(*metav1.ListOptions) {
		return func(o *metav1.ListOptions) {
			o.FieldSelector = fields.OneTermEqualSelector("metadata.name", name).String()
		}
	}
	wake := func() {
		select {
		case k.wake <- struct{}{}:
		default:
		}
	}
	handler := cache.ResourceEventHandlerFuncs{
		AddFunc: func(any) { wake() }, UpdateFunc: func(any, any) { wake() }, DeleteFunc: func(any) { wake() },
	}
	if err := s.watch(ctx, running, "the authority's Secret", handler,
		coreinformers.NewFilteredSecretInformer(s.Kubernetes, s.Namespace, 0, nil, named(s.Secret))); err != nil {
		return err
	}
	return s.watch(ctx, running, "the trust bundle", handler,
		coreinformers.NewFilteredConfigMapInformer(s.Kubernetes, s.Namespace, 0, nil, named(s.Bundle)))
}

// watch runs an informer until ctx ends.
func (s *Signer) watch(ctx context.Context, running *sync.WaitGroup, what string, handler cache.ResourceEventHandler, informer cache.SharedIndexInformer) error {
	err := informer.SetWatchErrorHandlerWithContext(func(ctx context.Context, _ *cache.Reflector, err error) {
		if ctx.Err() == nil {
			s.Log.Warn("the API server was lost or gave no answer; it is asked again", "about", what, "err", err)
		}
	})
	if err == nil {
		_, err = informer.AddEventHandler(handler)
	}
	if err != nil {
		return fmt.Errorf("following %s: %w", what, err)
	}
	running.Go(func() { informer.RunWithContext(ctx) })
	return nil
}

// answerAll follows the requests of this signer's name and answers them until ctx
// ends.
func (s *Signer) answerAll(ctx context.Context, running *sync.WaitGroup, k *keeper) error {
	informer := certificatesinformers.NewFilteredCertificateSigningRequestInformer(s.Kubernetes, 0, cache.Indexers{}, func(o *metav1.ListOptions) {
		o.FieldSelector = fields.OneTermEqualSelector("spec.signerName", csr.SignerName).String()
	})
	queue := workqueue.NewTypedRateLimitingQueue(workqueue.NewTypedItemExponentialFailureRateLimiter[string](firstAgain, lastAgain))
	a := &answerer{
		client: s.Kubernetes, list: certificateslisters.NewCertificateSigningRequestLister(informer.GetIndexer()),
		policy: Policy{Domain: s.domain, Requester: s.Requester, TTL: s.TTL},
		keeper: k, keepIssued: s.KeepIssued, keepDenied: s.KeepDenied, log: s.Log, metrics: s.metrics,
		seen: map[types.UID]time.Time{}, answered: map[types.UID]bool{},
	}
	if err := s.watch(ctx, running, "requests for certificates", a.handler(queue), informer); err != nil {
		queue.ShutDown()
		return err
	}
	running.Go(func() {
		<-ctx.Done()
		queue.ShutDown()
	})
	for range workers {
		running.Go(func() { a.work(ctx, queue) })
	}
	return nil
}

// handler queues requests that are new or changed.
func (a *answerer) handler(queue workqueue.TypedRateLimitingInterface[string]) cache.ResourceEventHandler {
	add := func(o any) {
		// The server has filtered; what doesn't filter must not be believed to.
		if c, ok := o.(*certificatesv1.CertificateSigningRequest); ok && c.Spec.SignerName == csr.SignerName {
			queue.Add(c.Name)
		}
	}
	return cache.ResourceEventHandlerFuncs{
		AddFunc: add, UpdateFunc: func(_, now any) { add(now) },
		DeleteFunc: func(o any) {
			if tombstone, ok := o.(cache.DeletedFinalStateUnknown); ok {
				o = tombstone.Obj
			}
			if c, ok := o.(*certificatesv1.CertificateSigningRequest); ok {
				a.forget(c.UID)
			}
		},
	}
}

// work answers requests until the queue is shut down.
func (a *answerer) work(ctx context.Context, queue workqueue.TypedRateLimitingInterface[string]) {
	for {
		name, shutdown := queue.Get()
		if shutdown {
			return
		}
		again, err := a.answer(ctx, name)
		switch {
		case ctx.Err() != nil:
		case err != nil:
			a.metrics.faults.Inc()
			a.log.Warn("a request could not be answered yet", "request", name, "err", err)
			queue.AddRateLimited(name)
		default:
			queue.Forget(name)
			if again > 0 {
				queue.AddAfter(name, again)
			}
		}
		queue.Done(name)
	}
}
