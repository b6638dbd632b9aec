// SPDX-License-Identifier: Apache-2.0

package kube

import (
	"strings"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/ambient22/ambient22/internal/mesh"
)

// A Job that a CronJob made is called <CronJob>-<minute of the epoch>: 8 digits
// since 2021, 10 where an older controller wrote seconds.
const (
	shortestStamp = 8
	longestStamp  = 10
)

// owner is who a person would name as running the pod, derived from names alone,
// because a ReplicaSet or Job itself need not be known here.
func owner(p *corev1.Pod) mesh.Owner {
	controller := metav1.GetControllerOfNoCopy(p)
	if controller == nil {
		return mesh.Owner{Kind: mesh.OwnerPod, Name: p.Name}
	}
	switch controller.Kind {
	case "ReplicaSet":
		return mesh.Owner{Kind: mesh.OwnerDeployment, Name: deploymentOf(controller.Name, p.Labels)}
	case "Job":
		if cron, ok := cronJobOf(controller.Name); ok {
			return mesh.Owner{Kind: mesh.OwnerCronJob, Name: cron}
		}
		return mesh.Owner{Kind: mesh.OwnerJob, Name: controller.Name}
	}
	return mesh.Owner{Kind: mesh.OwnerDeployment, Name: controller.Name}
}

// deploymentOf cuts the hash of the pod template off a ReplicaSet's name. A
// ReplicaSet without a Deployment has no such hash.
func deploymentOf(replicaSet string, podLabels map[string]string) string {
	hash := podLabels[appsv1.DefaultDeploymentUniqueLabelKey]
	if name, ok := strings.CutSuffix(replicaSet, "-"+hash); ok && hash != "" && name != "" {
		return name
	}
	return replicaSet
}

func cronJobOf(job string) (name string, ok bool) {
	at := strings.LastIndexByte(job, '-')
	if at <= 0 {
		return "", false
	}
	stamp := job[at+1:]
	if len(stamp) < shortestStamp || len(stamp) > longestStamp || strings.Trim(stamp, "0123456789") != "" {
		return "", false
	}
	return job[:at], true
}
