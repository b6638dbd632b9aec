// SPDX-License-Identifier: Apache-2.0

package manifest

import (
	"bytes"
	"cmp"
	"encoding/json"
	"errors"
	"fmt"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"sigs.k8s.io/yaml"

	"github.com/ambient22/ambient22/internal/kube"
)

// undecoded reports a text that is no object. It reads what it can of the object's
// head, because the decoder says nothing about a text it gave up.
func (d *decoder) undecoded(at place, text []byte, err error) {
	var content any
	if yaml.Unmarshal(text, &content) != nil {
		// Empty lines in front make the parser count as an editor does.
		inFile := append(bytes.Repeat([]byte("\n"), at.start-1), text...)
		d.fault(at, "", fmt.Errorf("this is not YAML: %w", yaml.Unmarshal(inFile, &content)))
		return
	}
	if _, ok := content.(map[string]any); !ok {
		d.fault(at, "", errors.New("this is no Kubernetes object, which is a mapping with apiVersion, kind and metadata"))
		return
	}
	var head metav1.PartialObjectMetadata
	// Where even the head can't be read, err says what stands in the way.
	_ = yaml.Unmarshal(text, &head)
	d.fault(at, name(head.Kind, &head), explain(err, &head))
}

// explain puts the commonest mistakes into words.
func explain(err error, head *metav1.PartialObjectMetadata) error {
	var wrongType *json.UnmarshalTypeError
	switch {
	case runtime.IsMissingKind(err), runtime.IsMissingVersion(err):
		return errors.New("kind, apiVersion: a Kubernetes object has both, and this one doesn't")
	case runtime.IsNotRegisteredError(err):
		return fmt.Errorf("kind: Kubernetes has no built-in kind %s in %s; take the object out of this folder or correct it", head.Kind, head.APIVersion)
	case errors.As(err, &wrongType):
		return fmt.Errorf("%s: a %s stands where a %s belongs", wrongType.Field, wrongType.Value, wrongType.Type)
	}
	return err
}

// name names an object as far as it could be read.
func name(kind string, o metav1.Object) string {
	kind = cmp.Or(kind, "object")
	if o.GetName() == "" {
		return kind
	}
	return kube.Ref{Kind: kind, Namespace: o.GetNamespace(), Name: o.GetName()}.String()
}
