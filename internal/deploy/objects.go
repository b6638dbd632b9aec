// SPDX-License-Identifier: Apache-2.0

package deploy

import (
	"bufio"
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/util/yaml"
)

// Parse reads the objects of a stream of YAML documents, Lists taken apart.
func Parse(manifest []byte) ([]*unstructured.Unstructured, error) {
	reader := yaml.NewYAMLReader(bufio.NewReader(bytes.NewReader(manifest)))
	var objects []*unstructured.Unstructured
	for n := 1; ; n++ {
		text, err := reader.Read()
		if errors.Is(err, io.EOF) {
			return objects, nil
		}
		if err != nil {
			return nil, fmt.Errorf("reading document %d: %w", n, err)
		}
		o := &unstructured.Unstructured{}
		if err := yaml.Unmarshal(text, &o.Object); err != nil {
			return nil, fmt.Errorf("reading document %d: %w", n, err)
		}
		if len(o.Object) == 0 {
			continue // only comments
		}
		if o.GetKind() == "" || o.GetAPIVersion() == "" {
			return nil, fmt.Errorf("reading document %d: it has no kind or no apiVersion", n)
		}
		if !o.IsList() {
			objects = append(objects, o)
			continue
		}
		err = o.EachListItem(func(item runtime.Object) error {
			objects = append(objects, item.(*unstructured.Unstructured))
			return nil
		})
		if err != nil {
			return nil, fmt.Errorf("reading document %d: %w", n, err)
		}
	}
}

// rank is the place of a kind in the order of applying: what others need comes
// first. Removing goes the other way.
func rank(kind string) int {
	order := []string{
		"Namespace", "CustomResourceDefinition", "PriorityClass", "ResourceQuota", "ServiceAccount",
		"ClusterRole", "ClusterRoleBinding", "Role", "RoleBinding", "Secret", "ConfigMap", "Service", "NetworkPolicy",
	}
	if i := slices.Index(order, kind); i >= 0 {
		return i
	}
	return len(order) // what runs, and what is nowhere else
}

// inOrder sorts objects as they are to be applied, without touching the slice.
func inOrder(objects []*unstructured.Unstructured) []*unstructured.Unstructured {
	return slices.SortedStableFunc(slices.Values(objects), func(a, b *unstructured.Unstructured) int {
		return cmp.Or(cmp.Compare(rank(a.GetKind()), rank(b.GetKind())), strings.Compare(Title(a), Title(b)))
	})
}

// Title is an object as people name it: "DaemonSet istio-system/ztunnel".
func Title(o *unstructured.Unstructured) string {
	if o.GetNamespace() == "" {
		return o.GetKind() + " " + o.GetName()
	}
	return o.GetKind() + " " + o.GetNamespace() + "/" + o.GetName()
}

// key names an object whatever version of its group it was read in.
type key struct{ group, kind, namespace, name string }

func keyOf(o *unstructured.Unstructured) key {
	return key{o.GroupVersionKind().Group, o.GetKind(), o.GetNamespace(), o.GetName()}
}

// ours reports whether an object carries our label.
func ours(o *unstructured.Unstructured) bool { return o.GetLabels()[LabelPartOf] == PartOf }
