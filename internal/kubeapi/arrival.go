// SPDX-License-Identifier: Apache-2.0

package kubeapi

import (
	"cmp"
	"context"
	"fmt"
	"net/netip"
	"reflect"
	"slices"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/ambient22/ambient22/internal/cni"
	"github.com/ambient22/ambient22/internal/kube"
	"github.com/ambient22/ambient22/internal/mesh"
)

// annotationStaticPod is on the object that stands for a static pod; its value is the
// UID by which the kubelet knows that pod.
const annotationStaticPod = "kubernetes.io/config.hash"

// outsiderPatience is how long a pod that takes no part is held up by a capture that
// was meant for another pod.
const outsiderPatience = 2 * time.Second

// news is what pods that arrive wait for.
type news struct {
	snapshot *mesh.Snapshot // the latest, nil before the first
	options  kube.Options   // that it was made with
	capture  *mesh.Capture  // the latest, nil before the first
}

// publish changes the news and wakes everybody who waits for some.
func (s *Source) publish(change func(*news)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	change(&s.news)
	close(s.changes)
	s.changes = make(chan struct{})
}

// latest is the news, and a channel that is closed when there is more.
func (s *Source) latest() (news, <-chan struct{}) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.news, s.changes
}

// Add has a pod captured whose network was just made. It returns when the kernel has
// it, or at once where the pod takes no part. The error is a *cni.Refusal.
func (s *Source) Add(ctx context.Context, p cni.Pod) (cni.Answer, error) {
	pod, err := s.arriving(ctx, p)
	if err != nil {
		return cni.Answer{}, err
	}
	if pod == nil {
		return cni.Answer{Why: "it is not known here, and takes no part"}, nil
	}
	why, err := s.whyNot(ctx, pod)
	if err != nil {
		return cni.Answer{}, err
	}
	ip, six := addresses(p.IPs)
	if why == "" && (six.IsValid() || !ip.IsValid()) {
		return cni.Answer{}, &cni.Refusal{
			What:   fmt.Sprintf("the pod is to be captured, and its address %s is an IPv6 one: this data path carries IPv4 only", six),
			WayOut: "give the pod IPv4 addresses only, or keep it out of the mesh with the label ambient-type=none",
		}
	}
	if !ip.IsValid() {
		return cni.Answer{Why: why}, nil
	}
	s.claims.put(pod.UID, p.ContainerID, ip)
	s.changed()
	answer, err := s.await(ctx, pod, ip, why)
	if err != nil {
		s.claims.drop(pod.UID, p.ContainerID)
		s.changed()
	}
	return answer, err
}

// Del takes note of a pod whose network goes.
func (s *Source) Del(p cni.Pod) {
	s.claims.remove(p.ContainerID)
	s.changed()
}

// Check says whether a pod stands as it should. The error is a *cni.Refusal.
func (s *Source) Check(ctx context.Context, p cni.Pod) (cni.Answer, error) {
	pod, err := s.arriving(ctx, p)
	if err != nil || pod == nil {
		return cni.Answer{}, err
	}
	why, err := s.whyNot(ctx, pod)
	if err != nil || why != "" {
		return cni.Answer{Why: why}, err
	}
	ip, _ := addresses(p.IPs)
	now, _ := s.latest()
	if now.capture == nil {
		return cni.Answer{}, starting()
	}
	if now.capture.Pods[string(pod.UID)] == ip {
		return cni.Answer{Captured: true}, nil
	}
	return cni.Answer{}, &cni.Refusal{Again: true, What: "the pod is not captured: " + s.hindrance(now, pod)}
}

func starting() *cni.Refusal {
	return &cni.Refusal{Starting: true, Again: true, What: "the node controller has not yet read the cluster"}
}

// addresses are the pod's IPv4 address and its first IPv6 one.
func addresses(all []netip.Addr) (four, six netip.Addr) {
	for _, a := range slices.Backward(all) {
		if a.Is4() {
			four = a
		} else {
			six = a
		}
	}
	return four, six
}

// arriving finds the pod that the plugin speaks of. It is nil, without an error, where
// the API server does not know it, or not on this node, and it can't belong to the mesh.
func (s *Source) arriving(ctx context.Context, p cni.Pod) (*corev1.Pod, error) {
	if now, _ := s.latest(); now.snapshot == nil {
		return nil, starting()
	}
	ref := kube.Ref{Kind: kube.KindPod, Namespace: p.Namespace, Name: p.Name}
	unknown := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: p.Namespace, Name: p.Name}}
	pod, _ := find(s.caches.pods, ref).(*corev1.Pod)
	if pod == nil || !is(pod, p.UID) {
		// What is kept may be old; the kubelet has heard of the pod from the same server.
		fresh, err := s.Kubernetes.CoreV1().Pods(p.Namespace).Get(ctx, p.Name, metav1.GetOptions{})
		switch {
		case apierrors.IsNotFound(err) || err == nil && !is(fresh, p.UID):
			return nil, s.stranger(ctx, unknown, "the API server knows no pod of this name and UID")
		case err != nil:
			return nil, s.stranger(ctx, unknown, fmt.Sprintf("the API server can't be asked about it: %v", err))
		}
		pod = trimPod(fresh)
	}
	switch {
	case pod.Spec.NodeName != s.Node:
		return nil, s.stranger(ctx, pod, fmt.Sprintf("the pod is one of node %q, while this is node %s", pod.Spec.NodeName, s.Node))
	case pod.Spec.HostNetwork:
		return nil, &cni.Refusal{What: "the pod uses its node's network, and has none of its own"}
	}
	return pod, nil
}

// is reports whether it is the pod of that UID; "" fits any.
func is(p *corev1.Pod, uid string) bool {
	return uid == "" || string(p.UID) == uid || p.Annotations[annotationStaticPod] == uid
}

// stranger is what is said to a pod that nobody knows here: it must not start where it
// would belong to the mesh.
func (s *Source) stranger(ctx context.Context, pod *corev1.Pod, what string) error {
	why, err := s.whyNot(ctx, pod)
	if err != nil {
		return err
	}
	if why != "" {
		return nil
	}
	return &cni.Refusal{Again: true, What: fmt.Sprintf("namespace %s takes part in the mesh, and %s", pod.Namespace, what)}
}

// whyNot is why a pod would not be captured, and empty where it would be. A namespace
// that was made a moment ago is waited for.
func (s *Source) whyNot(ctx context.Context, pod *corev1.Pod) (why string, err error) {
	for {
		now, more := s.latest()
		namespace, _ := find(s.caches.namespaces, kube.Ref{Kind: kube.KindNamespace, Name: pod.Namespace}).(*corev1.Namespace)
		if namespace != nil {
			return kube.WhyNotCaptured(pod, namespace, now.options), nil
		}
		select {
		case <-more:
		case <-ctx.Done():
			return "", &cni.Refusal{Again: true, What: fmt.Sprintf("namespace %s is not known here", pod.Namespace)}
		}
	}
}

// await waits for the kernel: until it captures the pod or, where why says that it is
// not to, until no pod that had its address before is captured.
func (s *Source) await(ctx context.Context, pod *corev1.Pod, ip netip.Addr, why string) (cni.Answer, error) {
	outsiders := time.After(outsiderPatience)
	for {
		now, more := s.latest()
		switch {
		case why != "":
			if holder(now.capture, ip) == "" {
				return cni.Answer{Why: why}, nil
			}
		case now.capture != nil && now.capture.Pods[string(pod.UID)] == ip:
			return cni.Answer{Captured: true, Secret: secretName(now.capture.Snapshot, pod)}, nil
		case now.snapshot.ActiveZtunnel(s.Node) == nil:
			return cni.Answer{}, &cni.Refusal{
				Again: true, What: fmt.Sprintf("the pod is to be captured, and no ztunnel is ready on node %s", s.Node),
				WayOut: "look at the pods of DaemonSet ztunnel in istio-system; the pod starts when the node's is ready, or at once with the label ambient-type=none",
			}
		}
		select {
		case <-more:
			var err error
			if why, err = s.whyNot(ctx, pod); err != nil {
				return cni.Answer{}, err
			}
		case <-outsiders:
			if outsiders = nil; why != "" {
				return s.letGo(pod, ip, why), nil
			}
		case <-ctx.Done():
			if why != "" {
				return s.letGo(pod, ip, why), nil
			}
			return cni.Answer{}, &cni.Refusal{Again: true, What: "the pod is to be captured, and was not in time: " + s.hindrance(now, pod)}
		}
	}
}

// letGo has a pod that takes no part start, whatever is still in its way.
func (s *Source) letGo(pod *corev1.Pod, ip netip.Addr, why string) cni.Answer {
	s.Log.Warn("a pod outside the mesh has an address that is still captured for another", "pod", pod.Namespace+"/"+pod.Name, "ip", ip)
	return cni.Answer{Why: why}
}

func secretName(s *mesh.Snapshot, pod *corev1.Pod) string {
	for i := range s.Workloads {
		if w := &s.Workloads[i]; w.UID == string(pod.UID) {
			return s.SecretName(w)
		}
	}
	return ""
}

// holder is the pod that is captured at an address, "" for none.
func holder(c *mesh.Capture, ip netip.Addr) string {
	if c != nil {
		for uid, at := range c.Pods {
			if at == ip {
				return uid
			}
		}
	}
	return ""
}

// hindrance is what keeps a pod from being captured, as far as that is known.
func (s *Source) hindrance(now news, pod *corev1.Pod) string {
	if now.capture != nil {
		if is := standings(now.capture, s.Node)[pod.UID]; is.why != "" {
			return is.why
		}
	}
	return cmp.Or(errOf(now.capture), "the node controller is still at it")
}

func errOf(c *mesh.Capture) string {
	if c == nil {
		return ""
	}
	return c.Err
}

// tellState says what a plugin can go by while nobody answers it.
func (s *Source) tellState(snapshot *mesh.Snapshot, namespaces []*corev1.Namespace) {
	if s.State == nil {
		return
	}
	state := cni.State{Mode: s.settings.options.Mode.String(), ZtunnelReady: snapshot.ActiveZtunnel(s.Node) != nil}
	for _, selector := range s.settings.options.DisabledSelectors {
		state.DisabledSelectors = append(state.DisabledSelectors, selector.String())
	}
	for _, n := range namespaces {
		if kube.WhyInactive(n, s.settings.options) == "" {
			state.ActiveNamespaces = append(state.ActiveNamespaces, n.Name)
		}
	}
	slices.Sort(state.ActiveNamespaces)
	if s.state == nil || !reflect.DeepEqual(*s.state, state) {
		s.state = &state
		s.State(state)
	}
}
