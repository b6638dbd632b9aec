// SPDX-License-Identifier: Apache-2.0

package bootstrap

import (
	"errors"
	"fmt"
	"net/netip"
	"path/filepath"
	"strings"
)

// Names inside the bootstrap that the served configuration refers to.
const (
	// XDSCluster is the static cluster that ADS runs over.
	XDSCluster = "xds-grpc"
	// SDSCluster is the static cluster that certificates are asked from; every
	// TLS context names it (listing 13).
	SDSCluster = "sds-grpc"
	// InternalListenerExtension lets Envoy's listeners be reached from inside the
	// proxy itself; without it every outbound_tunnel_lis_ listener is refused.
	InternalListenerExtension = "envoy.bootstrap.internal_listener"
	// Generator is the node metadata by which the 2022 control plane told a
	// ztunnel from a sidecar.
	Generator = "ztunnel-envoy"
	// AmbientType is the node metadata that says what kind of ambient proxy this is.
	AmbientType = "ztunnel"
)

// The longest path that fits a Unix socket address, the closing NUL left out.
const maxSocketPath = 107

// Options say who a ztunnel is and where it finds its control plane.
type Options struct {
	PodName      string     // required
	PodNamespace string     // required
	PodIP        netip.Addr // required, IPv4
	NodeName     string     // required: it decides which node's configuration is served
	ClusterID    string     // the Kubernetes cluster's name in the mesh
	// ServiceCluster is Envoy's name for the group of proxies this one belongs to.
	ServiceCluster string
	// XDSSocket is the absolute path of the node controller's Unix socket, which
	// serves ADS and SDS.
	XDSSocket string
	// AdminAddr is where the admin interface listens. Everybody who reaches it can
	// stop the proxy and read its whole configuration, so it is loopback.
	AdminAddr netip.AddrPort
	// Delta asks for incremental ADS. proxyv2 1.16 speaks state of the world
	// unless told otherwise (Istio made delta the default in 1.22), so that is the
	// default here; delta spares a large node the repeated lists.
	Delta bool
}

// Default is what a ztunnel uses where nothing else is said: a cluster called
// Kubernetes, the socket that ambient-node opens, the admin port 15000 and
// state-of-the-world ADS. Who the pod is has no default.
func Default() Options {
	return Options{
		ClusterID:      "Kubernetes",
		ServiceCluster: "istio-proxy",
		XDSSocket:      "/run/ambient22/xds.sock",
		AdminAddr:      netip.AddrPortFrom(netip.AddrFrom4([4]byte{127, 0, 0, 1}), 15000),
	}
}

// NodeID is the proxy's name on the xDS stream, in Istio's form:
// ztunnel~<pod IP>~<pod>.<namespace>~<namespace>.svc.cluster.local.
func (o Options) NodeID() string {
	return fmt.Sprintf("%s~%s~%s.%s~%s.svc.cluster.local",
		AmbientType, o.PodIP, o.PodName, o.PodNamespace, o.PodNamespace)
}

// Validate reports everything that is wrong with the options, in one error.
func (o Options) Validate() error {
	var errs []error
	for _, f := range []struct{ what, value string }{
		{"pod name", o.PodName},
		{"pod namespace", o.PodNamespace},
		{"node name", o.NodeName},
		{"cluster ID", o.ClusterID},
		{"service cluster", o.ServiceCluster},
	} {
		switch {
		case f.value == "":
			errs = append(errs, fmt.Errorf("%s is empty", f.what))
		case strings.ContainsAny(f.value, "~ \t\r\n"):
			// "~" separates the parts of the node ID.
			errs = append(errs, fmt.Errorf("%s %q contains a space or a tilde", f.what, f.value))
		}
	}
	if !o.PodIP.Is4() {
		errs = append(errs, fmt.Errorf("pod IP %q is not an IPv4 address", addrText(o.PodIP)))
	}
	if !filepath.IsAbs(o.XDSSocket) {
		errs = append(errs, fmt.Errorf("xDS socket %q is not an absolute path", o.XDSSocket))
	}
	if len(o.XDSSocket) > maxSocketPath {
		errs = append(errs, fmt.Errorf("xDS socket path is %d bytes long; a Unix socket's has at most %d", len(o.XDSSocket), maxSocketPath))
	}
	if !o.AdminAddr.IsValid() || o.AdminAddr.Port() == 0 {
		errs = append(errs, errors.New("admin address needs an IP address and a port other than 0"))
	}
	if err := errors.Join(errs...); err != nil {
		return fmt.Errorf("checking the proxy's options: %w", err)
	}
	return nil
}

// addrText prints the zero address as nothing, not as "invalid IP".
func addrText(a netip.Addr) string {
	if !a.IsValid() {
		return ""
	}
	return a.String()
}
