// SPDX-License-Identifier: Apache-2.0

package kube

import (
	corev1 "k8s.io/api/core/v1"

	"github.com/ambient22/ambient22/internal/mesh"
)

// class says what a running pod is to the mesh, and why its node does not capture
// it; why is empty for a pod that is captured.
func class(p *corev1.Pod, namespace activity) (c mesh.Class, why string) {
	// Nodes send the traffic of all their pods to a ztunnel, so who may make pods in
	// just any namespace must not be able to make one.
	labelled := p.Labels[mesh.LabelApp] == mesh.AppZtunnel
	if labelled && p.Namespace == mesh.RootNamespace {
		return mesh.Ztunnel, "it is a ztunnel (label app=ztunnel)"
	}
	if !namespace.active {
		return mesh.Outside, namespace.why
	}
	// A waypoint is one whatever its revision: it is deployed by the control plane,
	// which leaves the labels of a proxy on its pod.
	if p.Labels[mesh.LabelAmbientType] == mesh.AmbientTypeWaypoint {
		return mesh.Waypoint, "it is a waypoint (label ambient-type=waypoint)"
	}
	if label := podSidecarLabel(p); label != "" {
		return mesh.Outside, "it has a sidecar (label " + label + ")"
	}
	if p.Labels[mesh.LabelAmbientType] == mesh.AmbientTypeNone {
		return mesh.OptedOut, "it opted out (label ambient-type=none)"
	}
	if labelled {
		return mesh.OptedOut, "its label app=ztunnel is for the ztunnels, which are in the namespace " + mesh.RootNamespace
	}
	if _, static := p.Annotations[corev1.MirrorPodAnnotationKey]; static {
		return mesh.OptedOut, "it is a static pod: those have no service account, and so no identity"
	}
	if p.Spec.HostNetwork {
		return mesh.InMesh, "it uses its node's network"
	}
	return mesh.InMesh, ""
}

// WhyNotCaptured is why the node of a pod does not capture it, and empty where it does
// as soon as the pod has an address. Namespace is the pod's.
func WhyNotCaptured(p *corev1.Pod, namespace *corev1.Namespace, o Options) string {
	b := &builder{options: o}
	_, why := class(p, b.about(KindNamespace, "", namespace.Name).activity(namespace))
	return why
}

// podSidecarLabel also knows the mark that an injected sidecar leaves on its pod.
func podSidecarLabel(p *corev1.Pod) string {
	if label := sidecarLabel(p.Labels); label != "" {
		return label
	}
	if mode, ok := p.Labels[mesh.LabelTLSMode]; ok {
		return mesh.LabelTLSMode + "=" + mode
	}
	return ""
}
