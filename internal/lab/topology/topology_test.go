// SPDX-License-Identifier: Apache-2.0

package topology

import (
	"bytes"
	"io/fs"
	"strings"
	"testing"
	"testing/fstest"

	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/yaml"

	"github.com/ambient22/ambient22/hack/topologies"
)

// The pods of the manifests are the pods of the topology: same node, name and
// address, so that what the mesh is told is what is there.
func TestManifestsFitTheTopology(t *testing.T) {
	topo, err := Load(topologies.Article())
	if err != nil {
		t.Fatal(err)
	}
	pods := map[string]Pod{}
	for _, p := range topo.Pods {
		pods[p.Pod] = p
	}
	seen := 0
	for _, pod := range manifestPods(t) {
		if pod.Spec.HostNetwork {
			continue
		}
		seen++
		p, ok := pods[pod.Name]
		node, hasNode := topo.Node(p.Node)
		switch {
		case !ok || !hasNode:
			t.Errorf("%s: not in the topology", pod.Name)
		case p.Address.String() != pod.Status.PodIP || p.Namespace != pod.Namespace || node.Name != pod.Spec.NodeName:
			t.Errorf("%s: the manifest has %s in %s on %s, the topology %s in %s on %s", pod.Name,
				pod.Status.PodIP, pod.Namespace, pod.Spec.NodeName, p.Address, p.Namespace, node.Name)
		}
	}
	if seen < 10 {
		t.Errorf("only %d pods in the manifests", seen)
	}
}

func manifestPods(t *testing.T) []corev1.Pod {
	t.Helper()
	files, err := fs.Glob(topologies.Article(), "manifests/*.yaml")
	if err != nil {
		t.Fatal(err)
	}
	var pods []corev1.Pod
	for _, file := range files {
		data, err := fs.ReadFile(topologies.Article(), file)
		if err != nil {
			t.Fatal(err)
		}
		for _, doc := range bytes.Split(data, []byte("\n---\n")) {
			var pod corev1.Pod
			if err := yaml.Unmarshal(doc, &pod); err != nil {
				t.Fatalf("%s: %v", file, err)
			}
			if pod.Kind == "Pod" {
				pods = append(pods, pod)
			}
		}
	}
	return pods
}

func TestMistakesAreNamed(t *testing.T) {
	good, err := fs.ReadFile(topologies.Article(), "topology.yaml")
	if err != nil {
		t.Fatal(err)
	}
	tests := []struct{ name, old, new, want string }{
		{"an unknown field", "mtu: 1460", "mtu: 1460\ncolour: red", `unknown field "colour"`},
		{"an address twice", "10.4.4.7,", "10.4.4.19,", "sleep and notsleep: both have address 10.4.4.19"},
		{"an address of another node", "10.4.4.7,", "10.4.3.7,", "notsleep: 10.4.3.7 is no pod address of node-a"},
		{"a node that is not there", "{host: sleep, node: node-a", "{host: sleep, node: node-c", `sleep: no node "node-c"`},
		{"a long veth", "veth0f92c3b1", "veth0f92c3b100000", "is no device name"},
		{"a ztunnel elsewhere", "ztunnel: ztunnel-a", "ztunnel: ztunnel-b", "node-a: its ztunnel ztunnel-b is not a pod on it"},
		{"a host name", "host: httpbin", "host: HTTP_bin", "not a name of small letters"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			text := strings.Replace(string(good), tt.old, tt.new, 1)
			if text == string(good) {
				t.Fatal("the case changes nothing")
			}
			_, err := Load(fstest.MapFS{"topology.yaml": {Data: []byte(text)}})
			if err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("got %v, want an error with %q", err, tt.want)
			}
		})
	}
}
