// SPDX-License-Identifier: Apache-2.0

package config

import (
	"fmt"
	"net/netip"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/types/known/anypb"
)

// Workloads says who is behind an address; it comes as the configuration of the
// workload_metadata listener filter.
type Workloads struct {
	ProxyID string
	byIP    map[netip.Addr]*Workload
}

// Workload is a pod as its ztunnel knows it.
type Workload struct {
	IPs               []netip.Addr
	Instance          string // the pod's name
	Namespace         string
	Containers        []string
	Name              string // of the owner
	Type              string // deployment, cronjob, pod or job
	CanonicalName     string
	CanonicalRevision string
}

// ByIP is the workload with that address, or nil.
func (w *Workloads) ByIP(ip netip.Addr) *Workload { return w.byIP[ip] }

// Baggage is the workload in the form of the header "baggage" (W3C), with the
// keys that Istio's 2022 proxies sent to waypoints.
func (w *Workload) Baggage(cluster string) string {
	return fmt.Sprintf("k8s.cluster.name=%s,k8s.namespace.name=%s,k8s.%s.name=%s,service.name=%s,service.version=%s",
		cluster, w.Namespace, w.Type, w.Name, w.CanonicalName, w.CanonicalRevision)
}

// Extension decodes a filter configuration that came over ADS.
func (d *Decoder) Extension(body *anypb.Any) (name string, w *Workloads, err error) {
	var m corev3.TypedExtensionConfig
	if err := d.unpack(body, &m); err != nil {
		return "", nil, err
	}
	if m.GetTypedConfig().GetTypeUrl() != workloadMetadataType {
		return "", nil, fmt.Errorf("typed_config: type %q is not supported here", m.GetTypedConfig().GetTypeUrl())
	}
	w, err = workloads(m.GetTypedConfig().GetValue())
	if err != nil {
		return "", nil, in(err, "typed_config")
	}
	return m.GetName(), w, nil
}

// workloadTypes are the values of WorkloadMetadataResource.workload_type.
var workloadTypes = [...]string{"deployment", "cronjob", "pod", "job"}

// workloads reads istio.telemetry.workloadmetadata.v1.WorkloadMetadataResources
// from the wire; no Go type of it is published.
func workloads(b []byte) (*Workloads, error) {
	w := &Workloads{byIP: make(map[netip.Addr]*Workload)}
	i := 0
	err := eachField(b, func(num protowire.Number, text []byte, _ uint64) error {
		switch num {
		case 1:
			w.ProxyID = string(text)
		case 2:
			one, err := workload(text)
			if err != nil {
				return in(err, "workload_metadata_resources[%d]", i)
			}
			i++
			for _, ip := range one.IPs {
				w.byIP[ip] = one
			}
		default:
			return fmt.Errorf("field number %d is not supported", num)
		}
		return nil
	})
	return w, err
}

func workload(b []byte) (*Workload, error) {
	w := &Workload{Type: workloadTypes[0]}
	err := eachField(b, func(num protowire.Number, text []byte, n uint64) error {
		switch num {
		case 1:
			ip, err := netip.ParseAddr(string(text))
			if err != nil {
				return in(err, "ip_addresses[%d]", len(w.IPs))
			}
			w.IPs = append(w.IPs, ip)
		case 2:
			w.Instance = string(text)
		case 3:
			w.Namespace = string(text)
		case 4:
			w.Containers = append(w.Containers, string(text))
		case 5:
			w.Name = string(text)
		case 6:
			if n >= uint64(len(workloadTypes)) {
				return fmt.Errorf("workload_type: value %d is unknown", n)
			}
			w.Type = workloadTypes[n]
		case 7:
			w.CanonicalName = string(text)
		case 8:
			w.CanonicalRevision = string(text)
		default:
			return fmt.Errorf("field number %d is not supported", num)
		}
		return nil
	})
	return w, err
}

// eachField calls f for each field of a message that knows only strings,
// messages and one enum (number 6).
func eachField(b []byte, f func(num protowire.Number, text []byte, n uint64) error) error {
	for len(b) > 0 {
		num, typ, n := protowire.ConsumeTag(b)
		if n < 0 {
			return protowire.ParseError(n)
		}
		b = b[n:]
		var text []byte
		var value uint64
		switch {
		case typ == protowire.BytesType && num != 6:
			text, n = protowire.ConsumeBytes(b)
		case typ == protowire.VarintType && num == 6:
			value, n = protowire.ConsumeVarint(b)
		default:
			return fmt.Errorf("field number %d has an unexpected wire type %d", num, typ)
		}
		if n < 0 {
			return protowire.ParseError(n)
		}
		b = b[n:]
		if err := f(num, text, value); err != nil {
			return err
		}
	}
	return nil
}
