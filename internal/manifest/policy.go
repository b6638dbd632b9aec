// SPDX-License-Identifier: Apache-2.0

package manifest

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"

	"google.golang.org/protobuf/reflect/protoreflect"
	securityv1beta1 "istio.io/api/security/v1beta1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"sigs.k8s.io/yaml"

	"github.com/ambient22/ambient22/internal/kube"
)

// specOf describes the spec of a kind of policy, nil for kinds that are not read.
func specOf(kind string) protoreflect.MessageDescriptor {
	switch kind {
	case kube.KindAuthorizationPolicy:
		return (&securityv1beta1.AuthorizationPolicy{}).ProtoReflect().Descriptor()
	case kube.KindPeerAuthentication:
		return (&securityv1beta1.PeerAuthentication{}).ProtoReflect().Descriptor()
	}
	return nil
}

// decodePolicy reads a policy, or a list of policies. The API's own decoder passes
// over what it does not know, so the spec is compared with the API first.
func (d *decoder) decodePolicy(at place, text []byte, kind *schema.GroupVersionKind) {
	item, isList := strings.CutSuffix(kind.Kind, "List")
	spec := specOf(item)
	if spec == nil {
		_, _, err := d.policies.Decode(text, nil, nil)
		d.undecoded(at, text, err)
		return
	}
	content := map[string]any{}
	if err := yaml.Unmarshal(text, &content); err != nil {
		d.undecoded(at, text, err)
		return
	}
	if isList {
		d.decodePolicies(at, content, kind.GroupVersion().WithKind(item))
		return
	}
	object := name(kind.Kind, &unstructured.Unstructured{Object: content})
	if !slices.Contains(kube.SecurityVersions(), kind.GroupVersion()) {
		d.fault(at, object, fmt.Errorf("apiVersion: %s is not read here; write %s", kind.GroupVersion(), kube.SecurityVersions()[0]))
		return
	}
	if wrong := specFaults("spec", content["spec"], spec); len(wrong) > 0 {
		for _, err := range wrong {
			d.fault(at, object, err)
		}
		return
	}
	decoded, _, err := d.policies.Decode(text, nil, nil)
	d.take(at, text, decoded, kind, err)
}

// decodePolicies reads the items of a list. They need not repeat their kind.
func (d *decoder) decodePolicies(at place, list map[string]any, kind schema.GroupVersionKind) {
	for _, key := range slices.Sorted(maps.Keys(list)) {
		if !slices.Contains([]string{"apiVersion", "kind", "metadata", "items"}, key) {
			d.fault(at, kind.Kind+"List", unknown(key))
		}
	}
	items, ok := list["items"].([]any)
	if !ok && list["items"] != nil {
		d.fault(at, kind.Kind+"List", wrongKind("items", list["items"], "list"))
	}
	for i, item := range items {
		object, ok := item.(map[string]any)
		if !ok {
			d.fault(at, kind.Kind+"List", wrongKind(fmt.Sprintf("items[%d]", i), item, "mapping"))
			continue
		}
		typed := metav1.TypeMeta{APIVersion: kind.GroupVersion().String(), Kind: kind.Kind}
		if object["apiVersion"] == nil && object["kind"] == nil {
			object["apiVersion"], object["kind"] = typed.APIVersion, typed.Kind
		}
		text, err := json.Marshal(object)
		if err != nil {
			d.fault(at, kind.Kind, fmt.Errorf("writing items[%d] as JSON: %w", i, err))
			continue
		}
		d.decode(at, text)
	}
}
