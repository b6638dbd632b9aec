// SPDX-License-Identifier: Apache-2.0

package kubeapi

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/cache"
	"k8s.io/client-go/util/workqueue"

	"github.com/ambient22/ambient22/internal/kube"
	"github.com/ambient22/ambient22/internal/mesh"
)

const (
	firstRetry = 100 * time.Millisecond // of a write that failed, doubled up to
	lastRetry  = time.Minute
	// rewrite is how long it takes until the same is written to a pod again. It keeps
	// two who don't agree about a pod from chasing each other.
	rewrite = 5 * time.Second
	// markers is how many pods are written to at a time.
	markers = 4
)

// marker keeps the annotation on this node's pods.
type marker struct {
	client kubernetes.Interface
	node   string
	log    *slog.Logger
	find   func(kube.Ref) *corev1.Pod
	forget func(types.UID) // told of pods that were deleted
	queue  workqueue.TypedRateLimitingInterface[kube.Ref]

	mu       sync.Mutex
	captured map[types.UID]bool // pods of which nothing is known are not in it, and not written to
	written  map[types.UID]writing
}

// writing is what was last written to a pod, and when.
type writing struct {
	captured bool
	at       time.Time
}

func newMarker(client kubernetes.Interface, node string, log *slog.Logger, find func(kube.Ref) *corev1.Pod, forget func(types.UID)) *marker {
	limiter := workqueue.NewTypedItemExponentialFailureRateLimiter[kube.Ref](firstRetry, lastRetry)
	return &marker{
		client: client, node: node, log: log, find: find, forget: forget,
		queue:   workqueue.NewTypedRateLimitingQueue(limiter),
		written: map[types.UID]writing{},
	}
}

// handler has every change of a pod of this node looked at.
func (m *marker) handler() cache.ResourceEventHandler {
	look := func(o any) {
		if pod, ok := o.(*corev1.Pod); ok && pod.Spec.NodeName == m.node {
			m.queue.Add(objectRef(kube.KindPod, pod))
		}
	}
	return cache.ResourceEventHandlerFuncs{
		AddFunc: look, UpdateFunc: func(_, now any) { look(now) },
		DeleteFunc: func(o any) {
			if gone, ok := o.(cache.DeletedFinalStateUnknown); ok {
				o = gone.Obj
			}
			if pod, ok := o.(*corev1.Pod); ok {
				m.mu.Lock()
				delete(m.written, pod.UID)
				m.mu.Unlock()
				m.forget(pod.UID)
			}
		},
	}
}

// set takes over which pods of the node are captured. Those that changed are
// looked at.
func (m *marker) set(captured map[types.UID]bool, pods []*corev1.Pod) {
	m.mu.Lock()
	before := m.captured
	m.captured = captured
	m.mu.Unlock()
	for _, pod := range pods {
		was, known := before[pod.UID]
		if is, here := captured[pod.UID]; here && (!known || was != is) {
			m.queue.Add(objectRef(kube.KindPod, pod))
		}
	}
}

// run writes annotations until ctx ends.
func (m *marker) run(ctx context.Context) {
	var workers sync.WaitGroup
	for range markers {
		workers.Go(func() {
			for m.next(ctx) {
			}
		})
	}
	<-ctx.Done()
	m.queue.ShutDown()
	workers.Wait()
}

func (m *marker) next(ctx context.Context) bool {
	ref, stopped := m.queue.Get()
	if stopped {
		return false
	}
	defer m.queue.Done(ref)
	again, err := m.mark(ctx, ref)
	switch {
	case err != nil && ctx.Err() == nil:
		m.log.Warn("a pod's annotation could not be written; it is tried again", "pod", ref.Namespace+"/"+ref.Name, "err", err)
		m.queue.AddRateLimited(ref)
	case again > 0:
		m.queue.AddAfter(ref, again)
	default:
		m.queue.Forget(ref)
	}
	return true
}

// mark makes one pod's annotation say what is true. again is when to look again,
// zero where there is no need to. It writes to the subresource status, which leaves
// the pod's spec alone: who may patch pods themselves can give each of them, on
// any node, another image.
func (m *marker) mark(ctx context.Context, ref kube.Ref) (again time.Duration, err error) {
	pod := m.find(ref)
	if pod == nil || pod.Spec.NodeName != m.node {
		return 0, nil
	}
	m.mu.Lock()
	captured, known := m.captured[pod.UID]
	last := m.written[pod.UID]
	m.mu.Unlock()
	value, present := pod.Annotations[mesh.AnnotationRedirection]
	if !known || captured && value == mesh.RedirectionEnabled || !captured && !present {
		return 0, nil
	}
	if wait := time.Until(last.at.Add(rewrite)); wait > 0 && last.captured == captured {
		return wait, nil
	}
	patch, err := markPatch(pod.UID, captured)
	if err != nil {
		return 0, err
	}
	_, err = m.client.CoreV1().Pods(pod.Namespace).Patch(ctx, pod.Name, types.MergePatchType, patch, metav1.PatchOptions{FieldManager: Component}, "status")
	if apierrors.IsNotFound(err) || apierrors.IsConflict(err) {
		return 0, nil // it is gone, or another pod has its name; that one comes by itself
	}
	if err != nil {
		return 0, fmt.Errorf("writing the annotation %s: %w", mesh.AnnotationRedirection, err)
	}
	m.mu.Lock()
	m.written[pod.UID] = writing{captured, time.Now()}
	m.mu.Unlock()
	return 0, nil
}

// markPatch sets or removes the annotation. With the UID in it the API server
// refuses the patch where a new pod has taken the name.
func markPatch(uid types.UID, captured bool) ([]byte, error) {
	var value *string
	if captured {
		value = new(mesh.RedirectionEnabled)
	}
	return json.Marshal(map[string]any{"metadata": map[string]any{
		"uid": uid, "annotations": map[string]*string{mesh.AnnotationRedirection: value},
	}})
}
