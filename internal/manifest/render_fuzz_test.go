// SPDX-License-Identifier: Apache-2.0

package manifest

import (
	"bytes"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/ambient22/ambient22/envoyconfig"
	"github.com/ambient22/ambient22/internal/kube"
	"github.com/ambient22/ambient22/internal/mesh"
)

// fuzzBase is a mesh of two nodes that what the fuzzer writes is added to.
const fuzzBase = `{kind: Node, apiVersion: v1, metadata: {name: a}, spec: {podCIDR: 10.1.0.0/24}, status: {addresses: [{type: InternalIP, address: 192.0.2.1}]}}
---
{kind: Node, apiVersion: v1, metadata: {name: b}, spec: {podCIDR: 10.2.0.0/24}, status: {addresses: [{type: InternalIP, address: 192.0.2.2}]}}
---
{kind: Namespace, apiVersion: v1, metadata: {name: default, labels: {istio.io/dataplane-mode: ambient}}}
---
{kind: Namespace, apiVersion: v1, metadata: {name: istio-system}}
---
{kind: Pod, apiVersion: v1, metadata: {name: z, namespace: istio-system, uid: z, labels: {app: ztunnel}}, spec: {nodeName: a}, status: {phase: Running, podIP: 10.1.0.2, conditions: [{type: Ready, status: "True"}]}}
---
{kind: Pod, apiVersion: v1, metadata: {name: p, uid: p, labels: {app: p}}, spec: {nodeName: a, serviceAccountName: p}, status: {phase: Running, podIP: 10.1.0.3, conditions: [{type: Ready, status: "True"}]}}
---
{kind: Pod, apiVersion: v1, metadata: {name: q, uid: q, labels: {app: q}}, spec: {nodeName: b, serviceAccountName: q}, status: {phase: Running, podIP: 10.2.0.3, conditions: [{type: Ready, status: "True"}]}}
---
{kind: Service, apiVersion: v1, metadata: {name: q}, spec: {clusterIP: 10.3.0.1, selector: {app: q}, ports: [{name: http, port: 80, targetPort: 8080}]}}
---
{kind: EndpointSlice, apiVersion: discovery.k8s.io/v1, metadata: {name: q-1, labels: {kubernetes.io/service-name: q}}, addressType: IPv4, ports: [{name: http, port: 8080}], endpoints: [{addresses: [10.2.0.3]}]}
`

// fuzzSeeds are one thing more each. They are small: the fuzzer changes them byte
// by byte.
func fuzzSeeds() []string {
	const pod = `{kind: Pod, apiVersion: v1, metadata: {name: r, uid: r%s}, spec: {nodeName: a, serviceAccountName: %s}, status: {phase: Running, podIP: %s, conditions: [{type: Ready, status: "True"}]}}`
	const allow = `{kind: AuthorizationPolicy, apiVersion: security.istio.io/v1beta1, metadata: {name: x, namespace: %s}, spec: %s}`
	return []string{
		"", "---", "{", "kind: List",
		fmt.Sprintf(pod, "", "r", "10.1.0.9"),
		fmt.Sprintf(pod, "", "q", "10.1.0.9"),
		fmt.Sprintf(pod, ", labels: {ambient-type: none}", "p", "10.1.0.9"),
		fmt.Sprintf(pod, ", labels: {ambient-type: waypoint}", "p", "10.1.0.9"),
		fmt.Sprintf(pod, ", labels: {ambient-type: waypoint}", "q", "10.2.0.9"),
		fmt.Sprintf(pod, ", labels: {networking.istio.io/tunnel: h2}", "r", "10.1.0.9"),
		fmt.Sprintf(pod, ", labels: {security.istio.io/tlsMode: istio}, namespace: istio-system", "r", "10.1.0.9"),
		fmt.Sprintf(pod, "", "r, hostNetwork: true", "192.0.2.1"),
		fmt.Sprintf(pod, ", creationTimestamp: 2022-09-01T00:00:00Z, ownerReferences: [{kind: ReplicaSet, name: r-5, uid: s, apiVersion: apps/v1, controller: true}]", "r, containers: [{name: c}]", "10.1.0.9"),
		`{kind: Service, apiVersion: v1, metadata: {name: s}, spec: {clusterIP: 10.3.0.2, ports: [{name: a, port: 1}, {name: b, port: 2}, {name: u, port: 3, protocol: UDP}]}}
---
{kind: EndpointSlice, apiVersion: discovery.k8s.io/v1, metadata: {name: s-1, labels: {kubernetes.io/service-name: s}}, addressType: IPv4, ports: [{name: a, port: 9}, {name: b, port: 7}], endpoints: [{addresses: [10.1.0.3, 203.0.113.9]}, {addresses: [10.2.0.3], conditions: {ready: false}}]}`,
		`{kind: Service, apiVersion: v1, metadata: {name: s}, spec: {clusterIP: None, ports: [{port: 1}]}}`,
		`{kind: Service, apiVersion: v1, metadata: {name: s}, spec: {type: ExternalName, externalName: example.org}}`,
		fmt.Sprintf(allow, "default", `{}`),
		fmt.Sprintf(allow, "istio-system", `{action: DENY, rules: [{from: [{source: {principals: ["*", "x*", "*y", cluster.local/ns/default/sa/p], notNamespaces: ["a*"]}}], to: [{operation: {ports: ["80"], notPorts: ["81"]}}]}]}`),
		fmt.Sprintf(allow, "default", `{selector: {matchLabels: {app: p}}, rules: [{from: [{source: {ipBlocks: [10.0.0.0/8], notRemoteIpBlocks: [192.0.2.1]}}], when: [{key: source.ip, values: [10.1.0.0/16]}, {key: destination.port, notValues: ["9"]}, {key: connection.sni, values: [a.b]}]}, {to: [{operation: {methods: [GET]}}]}]}`),
		`{kind: PeerAuthentication, apiVersion: security.istio.io/v1beta1, metadata: {name: x}, spec: {selector: {matchLabels: {app: p}}, mtls: {mode: STRICT}, portLevelMtls: {8080: {mode: PERMISSIVE}}}}`,
		`{kind: Namespace, apiVersion: v1, metadata: {name: other, labels: {istio.io/dataplane-mode: ambient}}}`,
		`{kind: Node, apiVersion: v1, metadata: {name: c}, status: {addresses: [{type: InternalIP, address: 192.0.2.3}]}}`,
	}
}

// FuzzRender adds whatever manifest to a mesh. It is refused, or every node's
// ztunnel gets resources that are valid and consistent, that can be printed, and
// that are the same whatever order the objects were read in.
func FuzzRender(f *testing.F) {
	for i, seed := range fuzzSeeds() {
		f.Add([]byte(seed), byte(i))
	}
	f.Fuzz(func(t *testing.T, text []byte, form byte) {
		var docs []document
		if form&4 == 0 {
			docs = documents([]byte(fuzzBase))
		}
		docs = append(docs, documents(text)...)
		source := kube.Options{TrustDomain: mesh.DefaultTrustDomain, Node: "a"}
		if form&8 != 0 {
			source.Mode = kube.ModeOn
		}
		s, err := asFolder(docs).snapshot("fuzz", source)
		slices.Reverse(docs)
		backwards, errBackwards := asFolder(docs).snapshot("fuzz", source)
		if (err == nil) != (errBackwards == nil) {
			t.Fatalf("read forwards: %v\nread backwards: %v", err, errBackwards)
		}
		if err != nil {
			return
		}
		for _, node := range s.Nodes {
			o := envoyconfig.Options{
				Node: node.Name, ProxyID: s.ProxyID(node.Name),
				Profile: envoyconfig.Profile(form & 1), Dialect: envoyconfig.Dialect(form >> 1 & 1),
			}
			if first, second := render(t, s, o), render(t, backwards, o); !bytes.Equal(first, second) {
				t.Errorf("node %s, read forwards:\n%s\nread backwards:\n%s", node.Name, first, second)
			}
		}
	})
}

// asFolder is a folder with each document in a file of its own.
func asFolder(docs []document) *folder {
	f := &folder{}
	for i, d := range docs {
		f.files = append(f.files, file{path: fmt.Sprintf("%d.yaml", i), data: d.text})
	}
	return f
}

// render builds, checks and prints everything that a node's ztunnel is served.
func render(t *testing.T, s *mesh.Snapshot, o envoyconfig.Options) []byte {
	t.Helper()
	r, err := envoyconfig.Build(s, o)
	if err != nil {
		t.Fatalf("what was read can't be built: %v", err)
	}
	if err := r.Verify(); err != nil {
		t.Fatalf("what was built is not valid: %v", err)
	}
	var all []byte
	for _, list := range [][]*envoyconfig.Resource{r.Listeners, r.Clusters, r.Endpoints, r.Extensions} {
		text, err := envoyconfig.Render(list)
		if err != nil {
			t.Fatalf("what was built can't be printed: %v", err)
		}
		all = append(all, text...)
		for _, resource := range list {
			all = append(all, strings.Join([]string{resource.Type, resource.Name, resource.Version, "\n"}, " ")...)
		}
	}
	return fmt.Append(all, r.Secrets)
}
