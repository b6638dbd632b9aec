// SPDX-License-Identifier: Apache-2.0

package kubeapi

import (
	"context"
	"fmt"
	"hash/fnv"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/kubernetes/scheme"
	typedcorev1 "k8s.io/client-go/kubernetes/typed/core/v1"
	"k8s.io/client-go/tools/record"
)

// Component is who reports events and manages the annotation.
const Component = "ambient-node"

// Reasons of events.
const (
	ReasonCaptured    = "AmbientCaptured"
	ReasonNotCaptured = "AmbientNotCaptured"
	ReasonActive      = "AmbientActive"
	ReasonInactive    = "AmbientInactive"
	ReasonUnusable    = "AmbientUnusable" // an object, or a part of it, can't be used
)

// recorder is the part of client-go's recorder that is used here.
type recorder interface {
	Event(object runtime.Object, eventtype, reason, message string)
}

// silent records nothing.
type silent struct{}

func (silent) Event(runtime.Object, string, string, string) {}

// newRecorder records events until ctx ends. client-go's broadcaster counts
// repeated events, gathers similar ones, and limits those about one object.
func (s *Source) newRecorder(ctx context.Context) recorder {
	broadcaster := record.NewBroadcaster(record.WithContext(ctx))
	broadcaster.StartRecordingToSink(&sink{record.EventSink(&typedcorev1.EventSinkImpl{Interface: s.Kubernetes.CoreV1().Events("")})})
	return broadcaster.NewRecorder(scheme.Scheme, corev1.EventSource{Component: Component, Host: s.Node})
}

// sink gives the same event the same name, whoever reports it: every node sees
// that a Service is broken, and after a restart sees it again.
type sink struct{ record.EventSink }

func (k *sink) Create(e *corev1.Event) (*corev1.Event, error) {
	named := *e
	h := fnv.New64a()
	fmt.Fprintf(h, "%s\x00%s\x00%s\x00%s", e.InvolvedObject.UID, e.Type, e.Reason, e.Message)
	named.Name = fmt.Sprintf("%s.%x", e.InvolvedObject.Name, h.Sum64())
	created, err := k.EventSink.Create(&named)
	if apierrors.IsAlreadyExists(err) {
		return &named, nil
	}
	return created, err
}
