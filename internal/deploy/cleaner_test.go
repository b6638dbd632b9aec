// SPDX-License-Identifier: Apache-2.0

package deploy

import (
	"slices"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/yaml"

	"github.com/ambient22/ambient22/hack/chart"
	"github.com/ambient22/ambient22/internal/golden"
)

// rendering is the chart with these values.
func rendering(values ...string) func() ([]*unstructured.Unstructured, error) {
	return func() ([]*unstructured.Unstructured, error) {
		set, err := chart.Values(nil, values)
		if err != nil {
			return nil, err
		}
		out, err := chart.Render(set)
		if err != nil {
			return nil, err
		}
		return Parse(out.Manifest)
	}
}

// The cleanup runs the programs, with the rights, folders and flags of the node
// controller's pods, and needs nothing that may be gone.
func TestCleaner(t *testing.T) {
	u := &Uninstaller{Objects: rendering("tunnel=vxlan", "tunnelPort=7000", "image.tag=v9", "cni.confDir=/etc/other")}
	controller, err := u.rendered()
	if err != nil {
		t.Fatal(err)
	}
	set, err := cleanerOf(controller)
	if err != nil {
		t.Fatal(err)
	}
	text, err := yaml.Marshal(set)
	if err != nil {
		t.Fatal(err)
	}
	golden.Check(t, "testdata/cleanup.yaml", string(text))
	for _, v := range set.Spec.Template.Spec.Volumes {
		if v.Secret != nil || v.ConfigMap != nil || v.Projected != nil {
			t.Errorf("volume %s may be gone", v.Name)
		}
	}
	if set.Spec.Template.Spec.ServiceAccountName != "" {
		t.Error("it needs a service account, which may be gone")
	}
}

// A plugin that was switched off after an install is still on the nodes.
func TestCleanerOfAPluginSwitchedOff(t *testing.T) {
	for values, tasks := range map[string]int{"cni.binDir=/home/kubernetes/bin": 2, "cni.enabled=false": 1} {
		live, err := (&Uninstaller{Objects: rendering("cni.enabled=false", "image.tag=v8")}).rendered()
		if err != nil {
			t.Fatal(err)
		}
		set, err := (&Uninstaller{Objects: rendering(values)}).withPlugin(live)
		if err != nil {
			t.Fatal(err)
		}
		pod := set.Spec.Template.Spec
		if len(pod.InitContainers) != tasks {
			t.Fatalf("%s: %d tasks", values, len(pod.InitContainers))
		}
		for _, c := range pod.InitContainers {
			if !strings.HasSuffix(c.Image, ":v8") {
				t.Errorf("%s runs %s", c.Name, c.Image)
			}
			for _, m := range c.VolumeMounts {
				if !slices.ContainsFunc(pod.Volumes, func(v corev1.Volume) bool { return v.Name == m.Name }) {
					t.Errorf("%s has no volume %s", c.Name, m.Name)
				}
			}
		}
		if tasks == 2 && !slices.ContainsFunc(pod.Volumes, func(v corev1.Volume) bool { return v.HostPath != nil && v.HostPath.Path == "/home/kubernetes/bin" }) {
			t.Error("the given folder is not looked into")
		}
	}
}

// Without the plugin there is nothing to take away of it.
func TestCleanerWithoutPlugin(t *testing.T) {
	controller, err := (&Uninstaller{Objects: rendering("cni.enabled=false")}).rendered()
	if err != nil {
		t.Fatal(err)
	}
	set, err := cleanerOf(controller)
	if err != nil {
		t.Fatal(err)
	}
	if got := len(set.Spec.Template.Spec.InitContainers); got != 1 {
		t.Errorf("%d tasks", got)
	}
	controller.Spec.Template.Spec.Containers[0].Name = "other"
	if _, err := cleanerOf(controller); err == nil || !strings.Contains(err.Error(), "no container ambient-node") {
		t.Errorf("of another DaemonSet: %v", err)
	}
}

func TestPick(t *testing.T) {
	args := []string{"install", "--iptables=nft", "--state-dir", "/run/x", "-tunnel=vxlan", "--node", "a", "--proc-sys", "--log-level=info"}
	want := []string{"--iptables=nft", "--state-dir", "/run/x", "-tunnel=vxlan", "--proc-sys"}
	if got := pick(args, []string{"iptables", "state-dir", "tunnel", "proc-sys"}); !slices.Equal(got, want) {
		t.Errorf("got %q", got)
	}
}

// A node is clean when both tasks have ended well, whether or not what stays runs.
func TestRanThrough(t *testing.T) {
	pod := podOn("node-a", Namespace, cleaner+"-1", notReady)
	pod.Spec.InitContainers = []corev1.Container{{Name: NodeController}, {Name: "cni"}}
	if ranThrough(pod) {
		t.Error("before anything ran")
	}
	pod.Status.InitContainerStatuses = []corev1.ContainerStatus{{State: endedWith(0, "")}, {State: endedWith(1, "")}}
	if ranThrough(pod) {
		t.Error("after a failure")
	}
	pod.Status.InitContainerStatuses[1].State = endedWith(0, "")
	if !ranThrough(pod) {
		t.Error("after both")
	}
}
