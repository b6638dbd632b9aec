// SPDX-License-Identifier: Apache-2.0

package chart_test

import (
	"bufio"
	"bytes"
	"errors"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/serializer"
	"k8s.io/apimachinery/pkg/util/yaml"
	"k8s.io/client-go/kubernetes/scheme"

	"github.com/google/go-cmp/cmp"

	"github.com/ambient22/ambient22/hack/chart"
	"github.com/ambient22/ambient22/internal/csr"
	"github.com/ambient22/ambient22/internal/golden"
	"github.com/ambient22/ambient22/internal/kubeapi"
	"github.com/ambient22/ambient22/internal/signer"
)

// everything sets each value to something other than the chart does.
const everything = "testdata/everything.values.yaml"

// forms are ways to set the chart up that have templates of their own.
func forms() map[string][]string {
	return map[string][]string{
		"default":    nil,
		"embedded":   {"engine=embedded"},
		"ca":         {"identities=ca"},
		"csr":        {"identities=csr"},
		"no cni":     {"cni.enabled=false"},
		"namespace":  {"createNamespace=true"},
		"upstream":   {"dialect=upstream", "proxyImage.repository=envoyproxy/envoy", "proxyImage.tag=v1.30.11"},
		"everywhere": {"engine=embedded", "dialect=upstream", "profile=hardened", "meshMode=on", "dnsCapture=true"},
	}
}

func render(t *testing.T, assignments ...string) chart.Output {
	t.Helper()
	values, err := chart.Values(nil, assignments)
	if err != nil {
		t.Fatal(err)
	}
	out, err := chart.Render(values)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// objects decodes a manifest strictly: a field that Kubernetes does not have, or that
// stands there twice, is an error.
func objects(t *testing.T, manifest []byte) []runtime.Object {
	t.Helper()
	decoder := serializer.NewCodecFactory(scheme.Scheme, serializer.EnableStrict).UniversalDeserializer()
	reader := yaml.NewYAMLReader(bufio.NewReader(bytes.NewReader(manifest)))
	var out []runtime.Object
	for {
		text, err := reader.Read()
		if errors.Is(err, io.EOF) {
			return out
		}
		if err != nil {
			t.Fatal(err)
		}
		o, _, err := decoder.Decode(text, nil, nil)
		if err != nil {
			t.Fatalf("%v in\n%s", err, text)
		}
		out = append(out, o)
	}
}

func TestGolden(t *testing.T) {
	values, err := chart.Values([]string{everything}, nil)
	if err != nil {
		t.Fatal(err)
	}
	everything, err := chart.Render(values)
	if err != nil {
		t.Fatal(err)
	}
	for name, out := range map[string]chart.Output{"default": render(t), "everything": everything} {
		for suffix, got := range map[string][]byte{".yaml": out.Manifest, ".notes.txt": []byte(out.Notes)} {
			golden.Check(t, filepath.Join("testdata", name+suffix), got)
		}
	}
}

func TestEveryObjectIsOneAndOurs(t *testing.T) {
	for name, assignments := range forms() {
		t.Run(name, func(t *testing.T) {
			for _, o := range objects(t, render(t, assignments...).Manifest) {
				m, ok := o.(metav1.Object)
				if !ok {
					t.Fatalf("%T has no metadata", o)
				}
				if got := m.GetLabels()["app.kubernetes.io/part-of"]; got != "ambient22" {
					t.Errorf("%T %s is part of %q", o, m.GetName(), got)
				}
				switch o.(type) {
				case *corev1.Namespace, *rbacv1.ClusterRole, *rbacv1.ClusterRoleBinding:
				default:
					if m.GetNamespace() != "istio-system" {
						t.Errorf("%T %s is in the namespace %q", o, m.GetName(), m.GetNamespace())
					}
				}
			}
		})
	}
}

// pods are the pod templates of all workloads.
func pods(t *testing.T, manifest []byte) map[string]corev1.PodTemplateSpec {
	t.Helper()
	out := map[string]corev1.PodTemplateSpec{}
	for _, o := range objects(t, manifest) {
		switch o := o.(type) {
		case *appsv1.DaemonSet:
			out[o.Name] = o.Spec.Template
		case *appsv1.Deployment:
			out[o.Name] = o.Spec.Template
		}
	}
	return out
}

func TestNoContainerHasMoreThanItNeeds(t *testing.T) {
	capabilities := map[string][]corev1.Capability{
		"ambient-node/ambient-node":     {"NET_ADMIN", "NET_RAW"}, // iptables opens raw sockets
		"ambient-node/cni":              nil,
		"ztunnel/init":                  {"NET_ADMIN", "NET_RAW"},
		"ztunnel/copy":                  nil,
		"ztunnel/ztunnel":               {"NET_ADMIN"}, // IP_TRANSPARENT and SO_MARK
		"ambient-signer/ambient-signer": nil,
	}
	seen := map[string]bool{}
	for _, assignments := range forms() {
		for pod, template := range pods(t, render(t, assignments...).Manifest) {
			if template.Spec.HostPID || template.Spec.HostIPC || template.Spec.HostNetwork != (pod == "ambient-node") {
				t.Errorf("%s has namespaces of the host", pod)
			}
			if s := template.Spec.SecurityContext; s == nil || s.SeccompProfile == nil || s.SeccompProfile.Type != corev1.SeccompProfileTypeRuntimeDefault {
				t.Errorf("%s has no filter of system calls", pod)
			}
			if token := template.Spec.AutomountServiceAccountToken; token == nil || *token != (pod != "ztunnel") {
				t.Errorf("%s: a token is mounted or missing", pod)
			}
			for _, c := range slices.Concat(template.Spec.InitContainers, template.Spec.Containers) {
				name := pod + "/" + c.Name
				seen[name] = true
				s := c.SecurityContext
				if s == nil || s.Privileged != nil || s.AllowPrivilegeEscalation == nil || *s.AllowPrivilegeEscalation ||
					s.ReadOnlyRootFilesystem == nil || !*s.ReadOnlyRootFilesystem || !slices.Equal(s.Capabilities.Drop, []corev1.Capability{"ALL"}) {
					t.Errorf("%s has the rights %+v", name, s)
					continue
				}
				if diff := cmp.Diff(capabilities[name], s.Capabilities.Add); diff != "" {
					t.Errorf("%s has other capabilities (-want +got):\n%s", name, diff)
				}
			}
		}
	}
	for name := range capabilities {
		if !seen[name] {
			t.Errorf("no form has the container %s", name)
		}
	}
}

func TestRulesAreThoseOfThePrograms(t *testing.T) {
	for _, identities := range []string{"ca", "csr"} {
		manifest := render(t, "identities="+identities).Manifest
		for name, want := range rules(identities) {
			if diff := cmp.Diff(want, rulesOf(t, manifest, name)); diff != "" {
				t.Errorf("identities=%s: the rules of %s differ (-want +got):\n%s", identities, name, diff)
			}
		}
	}
}

// rulesOf are a role's rules in a manifest, nil where there is no such role.
func rulesOf(t *testing.T, manifest []byte, name string) []rbacv1.PolicyRule {
	t.Helper()
	for _, o := range objects(t, manifest) {
		switch o := o.(type) {
		case *rbacv1.ClusterRole:
			if "cluster/"+o.Name == name {
				return o.Rules
			}
		case *rbacv1.Role:
			if o.Name == name {
				return o.Rules
			}
		}
	}
	return nil
}

// rules are what the programs themselves say they need, by role.
func rules(identities string) map[string][]rbacv1.PolicyRule {
	out := map[string][]rbacv1.PolicyRule{
		"cluster/ambient22-node": kubeapi.ClusterRules(),
		"ambient22-node":         kubeapi.NamespaceRules("ambient22-config"),
		// Without a signer these roles are not there.
		"cluster/ambient22-signer": nil,
		"ambient22-signer":         nil,
	}
	if identities == "csr" {
		add := func(role string, rules []rbacv1.PolicyRule) { out[role] = append(out[role], rules...) }
		add("cluster/ambient22-node", csr.ClusterRules())
		add("ambient22-node", csr.NamespaceRules(csr.DefaultBundle))
		add("cluster/ambient22-signer", signer.ClusterRules())
		add("ambient22-signer", signer.NamespaceRules(signer.DefaultSecret, csr.DefaultBundle, signer.DefaultLease))
	}
	return out
}

func TestWrongValuesAreNamed(t *testing.T) {
	for assignment, wants := range map[string][]string{
		"tunnel=gre":               {"/tunnel", "'geneve', 'vxlan'"},
		"tunnelPort=70000":         {"/tunnelPort", "65,535"},
		"engine=nginx":             {"/engine", "'envoy', 'embedded'"},
		"profile=soft":             {"/profile", "'article', 'hardened'"},
		"meshMode=maybe":           {"/meshMode", "'off', 'default', 'on'"},
		"iptables=both":            {"/iptables", "'auto', 'nft', 'legacy'"},
		"identities=none":          {"/identities", "'ca', 'csr'"},
		"trustDomain=A":            {"/trustDomain"},
		"colour=green":             {"'colour' not allowed"},
		"ztunnel.drain=5s":         {"/ztunnel", "'drain' not allowed"},
		"ztunnel.drainSeconds=now": {"/ztunnel/drainSeconds", "integer"},
		"certTTL=1":                {"/certTTL"},
		"image.pullPolicy=Perhaps": {"/image/pullPolicy", "'Never'"},
		"cni.binDir=opt":           {"/cni/binDir"},
		"dialect=upstream":         {"set proxyImage.repository"},
	} {
		values, err := chart.Values(nil, []string{assignment})
		if err != nil {
			t.Fatal(err)
		}
		_, err = chart.Render(values)
		for _, want := range wants {
			if err == nil || !strings.Contains(err.Error(), want) {
				t.Errorf("%s: the error does not say %q: %v", assignment, want, err)
			}
		}
	}
	if _, err := chart.Values(nil, []string{"tunnel"}); err == nil {
		t.Error("an assignment without a value is taken")
	}
	if _, err := chart.Values([]string{"testdata/none.yaml"}, nil); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("a missing file: %v", err)
	}
}
