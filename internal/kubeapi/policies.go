// SPDX-License-Identifier: Apache-2.0

package kubeapi

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"sync"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/client-go/dynamic/dynamicinformer"
	"k8s.io/client-go/tools/cache"

	"github.com/ambient22/ambient22/internal/kube"
	"github.com/ambient22/ambient22/internal/mesh"
)

// While discovery gives no answer it is asked again after firstLook, doubled up to
// the interval at which it is asked anyway.
const firstLook = time.Second

// policies are the custom resources of the security API, as far as the cluster has
// them.
type policies struct {
	mu     sync.Mutex
	asked  bool // discovery has answered once
	caches map[string]*policyCache
}

// policyCache is one kind.
type policyCache struct {
	version  schema.GroupVersion
	informer cache.SharedIndexInformer
	stop     context.CancelFunc
}

// unread is a policy that can't be decoded.
type unread struct {
	metav1.ObjectMeta
	err error
}

// followPolicies asks discovery for the security API until ctx ends, and follows
// each kind that is there.
func (s *Source) followPolicies(ctx context.Context, running *sync.WaitGroup) {
	pause := firstLook
	for ctx.Err() == nil {
		if err := s.lookForPolicies(ctx, running); err != nil {
			s.Log.Warn("discovery did not say whether the cluster has policies; it is asked again", "err", err, "again_in", pause)
		} else {
			pause = s.Rediscover
		}
		select {
		case <-ctx.Done():
		case <-time.After(wait.Jitter(pause, 0.2)):
		}
		pause = min(2*pause, s.Rediscover)
	}
}

// lookForPolicies starts and ends informers as the API server says.
func (s *Source) lookForPolicies(ctx context.Context, running *sync.WaitGroup) error {
	versions, err := s.servedPolicies()
	if err != nil {
		return err
	}
	s.policies.mu.Lock()
	defer s.policies.mu.Unlock()
	for kind, resource := range policyResources() {
		version, served := versions[kind]
		old := s.policies.caches[kind]
		if old != nil && (!served || old.version != version) {
			old.stop()
			delete(s.policies.caches, kind)
			s.Log.Info("the cluster no longer serves a kind of policy", "kind", kind, "version", old.version.String())
			old = nil
			s.changed()
		}
		if !served || old != nil {
			continue
		}
		informer := dynamicinformer.NewFilteredDynamicInformer(s.Dynamic, version.WithResource(resource), metav1.NamespaceAll, 0, nil, nil).Informer()
		if err := s.follow(informer, resource, policyTransform(kind)); err != nil {
			return err
		}
		followed, stop := context.WithCancel(ctx)
		s.policies.caches[kind] = &policyCache{version, informer, stop}
		s.Log.Info("following policies", "kind", kind, "version", version.String())
		running.Go(func() { informer.RunWithContext(followed) })
		running.Go(func() {
			if cache.WaitForCacheSync(followed.Done(), informer.HasSynced) {
				s.changed()
			}
		})
	}
	if !s.policies.asked {
		s.policies.asked = true
		s.changed()
	}
	return nil
}

// policyResources are the plural names that the API server knows the kinds by.
func policyResources() map[string]string {
	return map[string]string{
		kube.KindAuthorizationPolicy: "authorizationpolicies",
		kube.KindPeerAuthentication:  "peerauthentications",
	}
}

// servedPolicies is the version to read each served kind in.
func (s *Source) servedPolicies() (map[string]schema.GroupVersion, error) {
	served := map[string]schema.GroupVersion{}
	for _, version := range kube.SecurityVersions() {
		list, err := s.Kubernetes.Discovery().ServerResourcesForGroupVersion(version.String())
		if apierrors.IsNotFound(err) {
			continue
		}
		if err != nil {
			return nil, fmt.Errorf("asking for the resources of %s: %w", version, err)
		}
		for kind, resource := range policyResources() {
			named := func(r metav1.APIResource) bool { return r.Name == resource }
			if _, ok := served[kind]; !ok && slices.ContainsFunc(list.APIResources, named) {
				served[kind] = version
			}
		}
	}
	return served, nil
}

// ready reports whether every kind of policy that is served has been listed once.
// Without them a first snapshot would let in what they refuse.
func (p *policies) ready() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, c := range p.caches {
		if !c.informer.HasSynced() {
			return false
		}
	}
	return p.asked
}

// add adds the policies to the other objects, and returns what can't be read.
func (p *policies) add(o *kube.Objects) (problems []kube.Problem) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for kind, c := range p.caches {
		if !c.informer.HasSynced() {
			continue // half a set of policies is none that anybody wrote
		}
		for _, object := range c.informer.GetStore().List() {
			switch policy := object.(type) {
			case *kube.AuthorizationPolicy:
				o.AuthorizationPolicies = append(o.AuthorizationPolicies, policy)
			case *kube.PeerAuthentication:
				o.PeerAuthentications = append(o.PeerAuthentications, policy)
			case *unread:
				problems = append(problems, kube.Problem{Object: objectRef(kind, policy), Field: "spec", What: policy.err.Error(), Fix: "correct it"})
			}
		}
	}
	return problems
}

// object finds one policy, nil where it is not known.
func (p *policies) object(ref kube.Ref) any {
	p.mu.Lock()
	defer p.mu.Unlock()
	if c := p.caches[ref.Kind]; c != nil {
		return find(c.informer, ref)
	}
	return nil
}

// policyTransform decodes what the dynamic client read into the kind's own type.
func policyTransform(kind string) cache.TransformFunc {
	return func(o any) (any, error) {
		raw, ok := o.(*unstructured.Unstructured)
		if !ok {
			return o, nil
		}
		meta := policyMeta(raw)
		spec, err := json.Marshal(map[string]any{"spec": raw.Object["spec"]})
		if err != nil {
			return &unread{meta, err}, nil
		}
		var policy runtime.Object
		switch kind {
		case kube.KindAuthorizationPolicy:
			p := &kube.AuthorizationPolicy{}
			err = json.Unmarshal(spec, p)
			p.ObjectMeta, policy = meta, p
		default:
			p := &kube.PeerAuthentication{}
			err = json.Unmarshal(spec, p)
			p.ObjectMeta, policy = meta, p
		}
		if err != nil {
			return &unread{meta, err}, nil
		}
		return policy, nil
	}
}

// policyMeta keeps of a policy's metadata what identifies it, and whether it is a
// dry run.
func policyMeta(raw *unstructured.Unstructured) metav1.ObjectMeta {
	meta := identity(&metav1.ObjectMeta{
		Namespace: raw.GetNamespace(), Name: raw.GetName(), UID: raw.GetUID(), ResourceVersion: raw.GetResourceVersion(),
		CreationTimestamp: raw.GetCreationTimestamp(), DeletionTimestamp: raw.GetDeletionTimestamp(),
	})
	if value, ok := raw.GetAnnotations()[mesh.AnnotationDryRun]; ok {
		meta.Annotations = map[string]string{mesh.AnnotationDryRun: value}
	}
	return meta
}
