// SPDX-License-Identifier: Apache-2.0

package kubeapi

import (
	"context"
	"log/slog"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/kubernetes"

	"github.com/ambient22/ambient22/internal/cni"
	"github.com/ambient22/ambient22/internal/kube"
	"github.com/ambient22/ambient22/internal/mesh"
)

const (
	// gather is how long changes are gathered before a snapshot is made of them.
	gather = 5 * time.Millisecond
	// breather is how many times as long as making the last snapshot took the source
	// rests before it makes the next one: a busy cluster costs a fraction of one
	// processor, and a large one gets its news a little later.
	breather = 4
)

// Config is what a source needs.
type Config struct {
	Kubernetes kubernetes.Interface
	Dynamic    dynamic.Interface // reads the policies
	Node       string            // the node whose pods are annotated and spoken about
	ConfigMap  types.NamespacedName
	Defaults   kube.Options // what holds where the ConfigMap says nothing
	// CheckTrustDomain refuses trust domains that there can be no certificates
	// for; nil takes all.
	CheckTrustDomain func(string) error
	Rediscover       time.Duration // how often discovery is asked whether the cluster has policies, about
	ReadOnly         bool          // writes neither annotations nor events
	// State, where there is one, is told what the CNI plugin goes by while the
	// controller is away, at first and whenever that changes.
	State func(cni.State)
	Log   *slog.Logger
}

// Source follows one cluster.
type Source struct {
	Config
	wake     chan struct{} // capacity 1: something changed
	caches   *caches
	policies policies
	settings settings
	marker   *marker
	recorder recorder
	captures chan *mesh.Capture // capacity 1: the newest that was told
	state    *cni.State         // what was told last; only the loop uses it
	claims   claims

	mu      sync.Mutex
	news    news
	changes chan struct{} // closed, and replaced, when news changed
}

// New returns a source that does nothing until Run, which may be called once.
func New(c Config) *Source {
	if c.CheckTrustDomain == nil {
		c.CheckTrustDomain = func(string) error { return nil }
	}
	c.Defaults.Node = c.Node
	s := &Source{
		Config:   c,
		wake:     make(chan struct{}, 1),
		captures: make(chan *mesh.Capture, 1),
		changes:  make(chan struct{}),
		policies: policies{caches: map[string]*policyCache{}},
		settings: settings{defaults: c.Defaults, checkTrustDomain: c.CheckTrustDomain},
	}
	s.caches = s.newCaches()
	s.marker = newMarker(c.Kubernetes, c.Node, c.Log, func(r kube.Ref) *corev1.Pod {
		pod, _ := find(s.caches.pods, r).(*corev1.Pod)
		return pod
	}, s.claims.forget)
	return s
}

// Run follows the cluster until ctx ends, and delivers a snapshot after every
// change, the first when everything has been listed. It never delivers an error:
// what can't be used is left out of the snapshot, logged, and reported by an event.
// deliver is called from one goroutine.
func (s *Source) Run(ctx context.Context, deliver func(*mesh.Snapshot, error)) error {
	ctx, stop := context.WithCancel(ctx)
	var running sync.WaitGroup
	defer running.Wait()
	defer stop()
	s.recorder = silent{}
	if !s.ReadOnly {
		s.recorder = s.newRecorder(ctx)
		running.Go(func() { s.marker.run(ctx) })
		running.Go(func() { s.followCaptures(ctx) })
	}
	running.Go(func() { s.followPolicies(ctx, &running) })
	if err := s.start(ctx, &running); err != nil {
		return err
	}
	s.loop(ctx, deliver)
	return nil
}

// loop makes snapshots.
func (s *Source) loop(ctx context.Context, deliver func(*mesh.Snapshot, error)) {
	problems, explainer := newReporter(s.sayProblem), &namespaceExplainer{recorder: s.recorder}
	var next time.Time         // when the next snapshot may be made
	var again <-chan time.Time // when problems may have settled
	for {
		select {
		case <-ctx.Done():
			return
		case <-s.wake:
		case <-again:
		}
		select {
		case <-ctx.Done():
			return
		case <-time.After(max(gather, time.Until(next))):
		}
		if !s.policies.ready() {
			continue // it wakes the loop when it is
		}
		begun := time.Now()
		found := s.deliver(deliver, explainer)
		again = nil
		if due := problems.update(time.Now(), found); !due.IsZero() {
			again = time.After(time.Until(due))
		}
		now := time.Now()
		next = now.Add(breather * now.Sub(begun))
	}
}

// deliver makes one snapshot of what is known, and returns what is wrong with the
// objects. While the settings have never been readable there is none: nobody
// knows then who must be left alone.
func (s *Source) deliver(deliver func(*mesh.Snapshot, error), e *namespaceExplainer) []kube.Problem {
	s.settings.read(s.configMap())
	problems := s.settings.problems
	if !s.settings.good {
		return problems
	}
	objects := s.objects()
	problems = append(problems, s.policies.add(&objects)...)
	snapshot, found := kube.Snapshot(objects, s.settings.options)
	s.publish(func(n *news) { n.snapshot, n.options = snapshot, s.settings.options })
	deliver(snapshot, nil)
	e.changed(objects.Namespaces, s.settings.options)
	s.tellState(snapshot, objects.Namespaces)
	return append(problems, found...)
}

// configMap is the one with the settings, nil where there is none.
func (s *Source) configMap() *corev1.ConfigMap {
	ref := kube.Ref{Kind: KindConfigMap, Namespace: s.ConfigMap.Namespace, Name: s.ConfigMap.Name}
	c, _ := find(s.caches.configMap, ref).(*corev1.ConfigMap)
	return c
}
