// SPDX-License-Identifier: Apache-2.0

package deploy

import (
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// An uninstall must not wait for what nobody will do.
func TestWhomTheControllersLetGo(t *testing.T) {
	pod := func(name, node string, phase corev1.PodPhase) *corev1.Pod {
		return &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Name: name}, Spec: corev1.PodSpec{NodeName: node}, Status: corev1.PodStatus{Phase: phase}}
	}
	got := letGoBy(map[string]bool{"node-a": true, "node-b": false}, []*corev1.Pod{
		pod("runs", "node-a", corev1.PodRunning), pod("starts", "node-a", corev1.PodPending),
		pod("job that is done", "node-a", corev1.PodSucceeded), pod("job that failed", "node-a", corev1.PodFailed),
		pod("without controller", "node-b", corev1.PodRunning), pod("elsewhere", "node-c", corev1.PodRunning),
	})
	if len(got) != 2 || got[0].Name != "runs" || got[1].Name != "starts" {
		t.Errorf("waits for %v", got)
	}
}
