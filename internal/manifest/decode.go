// SPDX-License-Identifier: Apache-2.0

package manifest

import (
	"errors"
	"fmt"
	"strings"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/runtime/serializer/json"
	"k8s.io/client-go/kubernetes/scheme"

	"github.com/ambient22/ambient22/internal/kube"
)

// place is where an object stands.
type place struct {
	file  string
	line  int // of its first content
	start int // on which the document begins
}

// decoder collects objects and what is wrong with them.
type decoder struct {
	serializer *json.Serializer
	policies   *json.Serializer // of the policies, which are custom resources
	objects    kube.Objects
	places     map[kube.Ref]place
	faults     []*Error
}

func newDecoder() *decoder {
	options := json.SerializerOptions{Yaml: true, Strict: true}
	policies := runtime.NewScheme()
	kube.AddSecurityToScheme(policies)
	return &decoder{
		serializer: json.NewSerializerWithOptions(json.DefaultMetaFactory, scheme.Scheme, scheme.Scheme, options),
		policies:   json.NewSerializerWithOptions(json.DefaultMetaFactory, policies, policies, options),
		places:     map[kube.Ref]place{},
	}
}

func (d *decoder) decodeFile(f file) {
	for _, doc := range documents(f.data) {
		d.decode(place{f.path, doc.line, doc.start}, doc.text)
	}
}

func (d *decoder) fault(at place, object string, err error) {
	d.faults = append(d.faults, &Error{File: at.file, Line: at.line, Object: object, Err: err})
}

// decode reads one object or list.
func (d *decoder) decode(at place, text []byte) {
	object, kind, err := d.serializer.Decode(text, nil, nil)
	if runtime.IsNotRegisteredError(err) && kind.Group == kube.SecurityGroup {
		d.decodePolicy(at, text, kind)
		return
	}
	d.take(at, text, object, kind, err)
}

// take keeps what a serializer decoded, or reports why it could not.
func (d *decoder) take(at place, text []byte, object runtime.Object, kind *schema.GroupVersionKind, err error) {
	if strict, ok := runtime.AsStrictDecodingError(err); ok {
		for _, err := range strict.Errors() {
			d.fault(at, describe(object, kind), err)
		}
		return
	}
	if err != nil {
		d.undecoded(at, text, err)
		return
	}
	d.add(at, object, kind)
}

// describe names a decoded object.
func describe(object runtime.Object, kind *schema.GroupVersionKind) string {
	o, err := meta.Accessor(object)
	if err != nil {
		return kind.Kind // a list
	}
	return name(kind.Kind, o)
}

// add sorts a decoded object in, or the objects of a list.
func (d *decoder) add(at place, object runtime.Object, kind *schema.GroupVersionKind) {
	if list, ok := object.(*corev1.List); ok {
		for _, item := range list.Items {
			d.decode(at, item.Raw)
		}
		return
	}
	if meta.IsListType(object) {
		item := kind.GroupVersion().WithKind(strings.TrimSuffix(kind.Kind, "List"))
		// The callback returns no error, so neither does the walk.
		_ = meta.EachListItem(object, func(o runtime.Object) error {
			d.add(at, o, &item)
			return nil
		})
		return
	}
	switch o := object.(type) {
	case *corev1.Node:
		keep(d, at, kube.KindNode, o, &d.objects.Nodes)
	case *corev1.Namespace:
		keep(d, at, kube.KindNamespace, o, &d.objects.Namespaces)
	case *corev1.Pod:
		inNamespace(o)
		keep(d, at, kube.KindPod, o, &d.objects.Pods)
	case *corev1.Service:
		inNamespace(o)
		keep(d, at, kube.KindService, o, &d.objects.Services)
	case *discoveryv1.EndpointSlice:
		inNamespace(o)
		keep(d, at, kube.KindEndpointSlice, o, &d.objects.EndpointSlices)
	case *kube.AuthorizationPolicy:
		inNamespace(o)
		keep(d, at, kube.KindAuthorizationPolicy, o, &d.objects.AuthorizationPolicies)
	case *kube.PeerAuthentication:
		inNamespace(o)
		keep(d, at, kube.KindPeerAuthentication, o, &d.objects.PeerAuthentications)
	default:
		if kind.Kind == kube.KindEndpointSlice {
			d.fault(at, describe(object, kind), fmt.Errorf("apiVersion: %s is not read here; write %s", kind.GroupVersion(), discoveryv1.SchemeGroupVersion))
		}
	}
}

// inNamespace puts an object without a namespace where kubectl would.
func inNamespace(o metav1.Object) {
	if o.GetNamespace() == "" {
		o.SetNamespace(metav1.NamespaceDefault)
	}
}

// keep adds an object to those of its kind, once.
func keep[T metav1.Object](d *decoder, at place, kind string, o T, all *[]T) {
	ref := kube.Ref{Kind: kind, Namespace: o.GetNamespace(), Name: o.GetName()}
	if o.GetName() == "" {
		d.fault(at, kind, errors.New("metadata.name: it is empty; give the object a name"))
		return
	}
	if other, ok := d.places[ref]; ok {
		d.fault(at, ref.String(), fmt.Errorf("metadata.name: the same object is in %s:%d; remove one of them", other.file, other.line))
		return
	}
	d.places[ref] = at
	*all = append(*all, o)
}
