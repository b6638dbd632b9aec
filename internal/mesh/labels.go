// SPDX-License-Identifier: Apache-2.0

package mesh

// Labels and annotations that decide who takes part.
const (
	LabelDataplaneMode    = "istio.io/dataplane-mode"
	DataplaneModeAmbient  = "ambient"
	LabelSidecarInjection = "istio-injection"
	LabelRevision         = "istio.io/rev"
	LabelTLSMode          = "security.istio.io/tlsMode" // an injected sidecar's mark on its pod
	LabelAmbientType      = "ambient-type"
	AmbientTypeWaypoint   = "waypoint"
	AmbientTypeNone       = "none"
	LabelTunnel           = "networking.istio.io/tunnel" // a pod that ends tunnels itself
	TunnelH2              = "h2"
	TunnelHTTP            = "http" // what later releases called it
	LabelApp              = "app"
	AppZtunnel            = "ztunnel"

	// AnnotationRedirection marks a captured pod; the later Geneve releases
	// used the same name.
	AnnotationRedirection = "ambient.istio.io/redirection"
	RedirectionEnabled    = "enabled"
)
