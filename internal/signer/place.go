// SPDX-License-Identifier: Apache-2.0

package signer

import (
	"context"
	"fmt"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/client-go/kubernetes"
)

// place finds the pod that entitles the requesting node to an identity. It looks
// at what the API server has in memory, which costs little and may lag a moment
// behind, and refuses only after a second look at what is stored. The lag gives
// nothing away: a node that is served for a pod which has just left it has had that
// pod's certificate before. An error says that a look failed.
func place(ctx context.Context, client kubernetes.Interface, asked *Asked) (pod string, refusal *Refusal, err error) {
	const inMemory, stored = "0", ""
	pod, refusal, err = placeAt(ctx, client, asked, inMemory)
	if refusal == nil && err == nil {
		return pod, nil, nil
	}
	return placeAt(ctx, client, asked, stored)
}

// placeAt looks once, in the sense that this resource version has for a read.
func placeAt(ctx context.Context, client kubernetes.Interface, asked *Asked, version string) (pod string, refusal *Refusal, err error) {
	node, err := client.CoreV1().Nodes().Get(ctx, asked.Node, metav1.GetOptions{ResourceVersion: version})
	if apierrors.IsNotFound(err) {
		return "", refuse(ReasonNoSuchNode, "the requester's token is of the node %s, which is not in the cluster any more", asked.Node), nil
	}
	if err != nil {
		return "", nil, fmt.Errorf("looking for the node %s: %w", asked.Node, err)
	}
	if asked.NodeUID != "" && asked.NodeUID != string(node.UID) {
		return "", refuse(ReasonNoSuchNode, "the requester's token is of an earlier node that was called %s, too: restart ambient-node there", asked.Node), nil
	}
	list, err := client.CoreV1().Pods(asked.Namespace).List(ctx, metav1.ListOptions{
		FieldSelector: fields.OneTermEqualSelector("spec.nodeName", asked.Node).String(), ResourceVersion: version,
	})
	if err != nil {
		return "", nil, fmt.Errorf("looking for pods of %s on %s: %w", asked.Namespace, asked.Node, err)
	}
	for i := range list.Items {
		if p := &list.Items[i]; entitles(p, asked) {
			return p.Name, nil, nil
		}
	}
	return "", refuse(ReasonNoPod, "the service account %s/%s has no unfinished pod on the node %s, which asks for its identity: "+
		"a node gets certificates only for what runs on it", asked.Namespace, asked.ServiceAccount, asked.Node), nil
}

// entitles compares once more what the list was asked to select by. A pod without a
// service account entitles to none, not even to the one called default: the API
// server gives every pod one but the mirrors of static pods, and those a kubelet may
// make for itself, in any namespace.
func entitles(p *corev1.Pod, asked *Asked) bool {
	_, mirror := p.Annotations[corev1.MirrorPodAnnotationKey]
	return !mirror && p.Namespace == asked.Namespace && p.Spec.ServiceAccountName == asked.ServiceAccount && p.Spec.NodeName == asked.Node &&
		p.Status.Phase != corev1.PodSucceeded && p.Status.Phase != corev1.PodFailed
}
