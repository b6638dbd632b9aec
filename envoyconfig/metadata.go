// SPDX-License-Identifier: Apache-2.0

package envoyconfig

import (
	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"

	metadata "github.com/ambient22/ambient22/envoyconfig/workloadmetadata"
	"github.com/ambient22/ambient22/internal/mesh"
)

const workloadMetadataType = "type.googleapis.com/istio.telemetry.workloadmetadata.v1.WorkloadMetadataResources"

// Labels that name what a workload is, in the order they are asked.
func nameLabels() []string {
	return []string{"service.istio.io/canonical-name", "app.kubernetes.io/name", mesh.LabelApp}
}

// Labels that name which version of it, in the order they are asked.
func revisionLabels() []string {
	return []string{"service.istio.io/canonical-revision", "app.kubernetes.io/version", "version"}
}

// latestRevision is the revision of a workload that names none.
const latestRevision = "latest"

// workloadMetadata tells the outbound listener who is behind each source address
// it knows.
func (b *builder) workloadMetadata() *corev3.TypedExtensionConfig {
	resources := &metadata.WorkloadMetadataResources{ProxyId: b.options.ProxyID}
	for _, w := range b.view.sources {
		resources.WorkloadMetadataResources = append(resources.WorkloadMetadataResources, describe(w))
	}
	return &corev3.TypedExtensionConfig{Name: MetadataName, TypedConfig: b.any(resources)}
}

func describe(w *mesh.Workload) *metadata.WorkloadMetadataResource {
	return &metadata.WorkloadMetadataResource{
		IpAddresses:       []string{w.IP.String()},
		InstanceName:      w.Name,
		NamespaceName:     w.Namespace,
		Containers:        w.Containers,
		WorkloadName:      w.Owner.Name,
		WorkloadType:      metadata.WorkloadMetadataResource_WorkloadType(w.Owner.Kind),
		CanonicalName:     firstLabel(w, nameLabels(), w.Owner.Name),
		CanonicalRevision: firstLabel(w, revisionLabels(), latestRevision),
	}
}

func firstLabel(w *mesh.Workload, keys []string, otherwise string) string {
	for _, key := range keys {
		if value := w.Labels[key]; value != "" {
			return value
		}
	}
	return otherwise
}
