// SPDX-License-Identifier: Apache-2.0

package proxy

import (
	"crypto/tls"
	"errors"
	"maps"
	"net/netip"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/ambient22/ambient22/envoyconfig"
	"github.com/ambient22/ambient22/internal/mesh"
	"github.com/ambient22/ambient22/internal/proxy/proxytest"
)

const productpageID = "spiffe://cluster.local/ns/default/sa/bookinfo-productpage"

// withWaypoint adds pods of a waypoint of that service account.
func withWaypoint(s *mesh.Snapshot, account string, ips ...string) *mesh.Snapshot {
	for _, ip := range ips {
		s.Workloads = append(s.Workloads, mesh.Workload{
			UID: "w-" + ip, Namespace: "default", Name: "waypoint-" + strings.ReplaceAll(ip, ".", "-"), ServiceAccount: account,
			Node: "b", IP: netip.MustParseAddr(ip), Labels: map[string]string{mesh.LabelAmbientType: mesh.AmbientTypeWaypoint},
			Created: time.Unix(2, 0), Ready: true, Class: mesh.Waypoint,
		})
	}
	for i := range s.Services {
		s.Services[i].Selector = map[string]string{"app": s.Services[i].Name}
	}
	s.Sort()
	return s
}

// called takes n arrivals at a waypoint's pods, and returns which pods had one.
func called(t *testing.T, n int, pods map[string]<-chan arrival, check func(arrival)) []string {
	t.Helper()
	by := make(map[string]bool)
	wait(t, "the requests arrived", func() bool {
		for ip, arrivals := range pods {
			select {
			case a := <-arrivals:
				check(a)
				by[ip] = true
				n--
			default:
			}
		}
		return n == 0
	})
	return slices.Sorted(maps.Keys(by))
}

func TestServerWaypoint(t *testing.T) {
	forms(t, func(t *testing.T, f form) {
		d := deploy(t, withWaypoint(everyWay(), "bookinfo-productpage", "10.4.3.21", "10.4.3.22"), f, f)
		pods := make(map[string]<-chan arrival)
		for _, ip := range []string{"10.4.3.21", "10.4.3.22"} {
			d.extraPod(ip)
			pods[ip] = d.hboneServer(ip+":15006", productpageID)
		}
		for _, to := range []string{"10.8.14.226:9080", "10.4.3.20:9080"} {
			for range 4 {
				mustAsk(t, d.sleep, to, "hello")
			}
			by := called(t, 4, pods, func(a arrival) {
				if a.authority != to || a.header["x-envoy-original-dst-host"] != to || a.caller != sleepID {
					t.Errorf("the waypoint was asked %+v for %s", a, to)
				}
				want := "k8s.cluster.name=Kubernetes,k8s.namespace.name=default,k8s.deployment.name=sleep,service.name=sleep,service.version=latest"
				if f.dialect == envoyconfig.Upstream {
					want = ""
				}
				if a.header["baggage"] != want {
					t.Errorf("baggage %q", a.header["baggage"])
				}
			})
			if len(by) != 2 {
				t.Errorf("only %v were called", by)
			}
		}
		d.a.logged("capture outbound (to server waypoint proxy)")

		// The destination takes tunnels from its waypoint only.
		serve(t, d.productpage, "10.4.3.20:9080", echo)
		if status, body, err := d.tunnelTo(productpageID, "10.4.3.20:9080"); status != 200 || body != "hello" {
			t.Errorf("the waypoint got %d %q, %v", status, body, err)
		}
		if status, _, err := d.tunnelTo(sleepID, "10.4.3.20:9080"); err == nil {
			t.Errorf("past the waypoint: %d", status)
		}
		d.b.logged("rbac_access_denied_matched_policy[none]")
	})
}

func TestClientWaypoint(t *testing.T) {
	forms(t, func(t *testing.T, f form) {
		d := deploy(t, withWaypoint(everyWay(), "sleep", "10.4.3.23"), f, f)
		d.extraPod("10.4.3.23")
		arrivals := d.hboneServer("10.4.3.23:15001", sleepID)
		mustAsk(t, d.sleep, "10.8.14.226:9080", "hello")
		if a := <-arrivals; a.authority != "10.8.14.226:9080" || a.caller != sleepID {
			t.Errorf("the waypoint was asked %+v", a)
		}
		d.a.logged("capture outbound (to client waypoint proxy)")
	})
}

// A waypoint that is somebody else, or nobody, gets nothing in the hardened
// profile, and the log says so as Envoy's would.
func TestWaypointThatIsNot(t *testing.T) {
	forms(t, func(t *testing.T, f form) {
		d := deploy(t, withWaypoint(everyWay(), "bookinfo-productpage", "10.4.3.21"), f, f)
		d.extraPod("10.4.3.21")
		if _, err := ask(t, d.sleep, "10.8.14.226:9080", "x"); !errors.Is(err, syscall.ECONNRESET) {
			t.Errorf("nobody there: %v", err)
		}
		d.a.logged(` 0 UF,URX - - "-" 0 0 `)
		arrivals := d.hboneServer("10.4.3.21:15006", webID)
		got, err := ask(t, d.sleep, "10.8.14.226:9080", "x")
		if !f.hardened() {
			if got != "x" || err != nil {
				t.Errorf("answered %q, %v", got, err)
			}
			return
		}
		if !errors.Is(err, syscall.ECONNRESET) || len(arrivals) != 0 {
			t.Errorf("answered %q, %v; %d requests", got, err, len(arrivals))
		}
		d.a.logged(`0 UF,URX - - "TLS_error:_268435581:SSL_routines:OPENSSL_internal:CERTIFICATE_VERIFY_FAILED:_peer's_names_["` + webID + `"]_are_not_admitted" 0 0 `)
		d.a.logged(`"10.4.3.21:15006" ` + sleepID + `_to_server_waypoint_proxy_` + productpageID + ` `)
	})
}

// Who answers for a pod must be of the mesh in the hardened profile.
func TestPodThatIsNot(t *testing.T) {
	forms(t, func(t *testing.T, f form) {
		s := everyWay()
		s.Workloads[0].IP = netip.MustParseAddr("10.4.3.21")
		s.Services[0].Ports[0].Endpoints[0].IP = s.Workloads[0].IP
		d := deploy(t, s, f, f)
		d.extraPod("10.4.3.21")
		other, err := proxytest.NewCA()
		if err != nil {
			t.Fatal(err)
		}
		chain, key, err := other.Leaf(productpageID)
		if err != nil {
			t.Fatal(err)
		}
		foreign, err := tls.X509KeyPair(chain, key)
		if err != nil {
			t.Fatal(err)
		}
		certificates := make(chan tls.Certificate, 1)
		d.endTunnels("10.4.3.21:15008", func() tls.Certificate {
			c := <-certificates
			certificates <- c
			return c
		})
		certificates <- foreign
		for _, to := range []string{"10.8.14.226:9080", "10.4.3.21:9080"} {
			got, err := ask(t, d.sleep, to, "x")
			if f.hardened() != errors.Is(err, syscall.ECONNRESET) || f.hardened() != (got == "") {
				t.Errorf("%s: a foreign server answered %q, %v", to, got, err)
			}
		}
		if !f.hardened() {
			return
		}
		d.a.logged(`UF,URX - - "TLS_error:_268435581:SSL_routines:OPENSSL_internal:CERTIFICATE_VERIFY_FAILED:_x509:_certificate_signed_by_unknown_authority"`)
		<-certificates
		certificates <- d.certificate("spiffe://cluster.local/ns/kube-system/sa/x")
		for _, to := range []string{"10.8.14.226:9080", "10.4.3.21:9080"} {
			mustAsk(t, d.sleep, to, "any identity of the mesh will do")
		}
	})
}

// A pod that ends tunnels itself gets the tunnel as it is.
func TestNativeHBONE(t *testing.T) {
	forms(t, func(t *testing.T, f form) {
		s := everyWay()
		s.Workloads[0].Labels[mesh.LabelTunnel] = mesh.TunnelHTTP
		d := deploy(t, s, f, f)
		arrivals := d.hboneServer("10.4.3.20:15008", productpageID)
		for _, to := range []string{"10.8.14.226:9080", "10.4.3.20:9080"} {
			mustAsk(t, d.sleep, to, "hello")
			if a := <-arrivals; a.authority != "10.4.3.20:9080" || a.caller != sleepID {
				t.Errorf("the pod was asked %+v", a)
			}
		}
		// Each tunnel cluster of sleep's has a connection of its own.
		d.b.untilStat("tcp.virtual_inbound_hbone.downstream_cx_total", 2)
		d.b.untilStat("cluster.virtual_inbound_hbone.upstream_cx_active", 2)
	})
}
