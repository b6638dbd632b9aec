// SPDX-License-Identifier: Apache-2.0

package samples_test

import (
	"strings"
	"testing"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/serializer/json"
	"k8s.io/client-go/kubernetes/scheme"

	"github.com/ambient22/ambient22/hack/samples"
)

// What the article says of the two workloads holds of the sample: who they are, what
// answers where, and that they take part.
func TestBookinfo(t *testing.T) {
	strict := json.NewSerializerWithOptions(json.DefaultMetaFactory, scheme.Scheme, scheme.Scheme, json.SerializerOptions{Yaml: true, Strict: true})
	accounts := map[string]string{}
	for _, document := range strings.Split(samples.Bookinfo(), "\n---\n") {
		object, _, err := strict.Decode([]byte(document), nil, nil)
		if err != nil {
			t.Fatalf("%v in\n%s", err, document)
		}
		checkObject(t, object, accounts)
	}
	if accounts["sleep"] != "sleep" || accounts["productpage"] != "bookinfo-productpage" {
		t.Errorf("the workloads' service accounts are %v", accounts)
	}
}

func checkObject(t *testing.T, object runtime.Object, accounts map[string]string) {
	t.Helper()
	switch o := object.(type) {
	case *corev1.Namespace:
		if o.Labels["istio.io/dataplane-mode"] != "ambient" {
			t.Error("the namespace does not take part")
		}
	case *corev1.Service:
		if o.Name != "productpage" || o.Spec.Ports[0].Port != 9080 {
			t.Errorf("the service is %s:%d", o.Name, o.Spec.Ports[0].Port)
		}
	case *appsv1.DaemonSet:
		checkPod(t, o.Spec.Template, accounts)
	case *appsv1.Deployment:
		checkPod(t, o.Spec.Template, accounts)
	}
}

func checkPod(t *testing.T, pod corev1.PodTemplateSpec, accounts map[string]string) {
	t.Helper()
	accounts[pod.Labels["app"]] = pod.Spec.ServiceAccountName
	if pod.Spec.SecurityContext.RunAsNonRoot == nil || !*pod.Spec.SecurityContext.RunAsNonRoot {
		t.Errorf("%s may run as root", pod.Labels["app"])
	}
}
