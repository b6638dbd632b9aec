// SPDX-License-Identifier: Apache-2.0

package proxy

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/net/http2/hpack"

	"github.com/ambient22/ambient22/envoyconfig"
	"github.com/ambient22/ambient22/internal/ca"
	"github.com/ambient22/ambient22/internal/hbone"
	"github.com/ambient22/ambient22/internal/mesh"
)

// form is one form of the configuration.
type form struct {
	profile envoyconfig.Profile
	dialect envoyconfig.Dialect
}

func (f form) String() string { return fmt.Sprintf("%v in %v", f.profile, f.dialect) }

func (f form) hardened() bool { return f.profile == envoyconfig.Hardened }

// forms runs a test in every form.
func forms(t *testing.T, test func(t *testing.T, f form)) {
	for _, p := range []envoyconfig.Profile{envoyconfig.Article, envoyconfig.Hardened} {
		for _, d := range []envoyconfig.Dialect{envoyconfig.Istio116, envoyconfig.Upstream} {
			f := form{p, d}
			t.Run(f.String(), func(t *testing.T) { test(t, f) })
		}
	}
}

// deployment is two ztunnels of this project on a path, each with a controller of
// this project.
type deployment struct {
	*path
	t           *testing.T
	authority   *ca.Authority
	controllers []*controller
	a, b        *testProxy
}

// deploy runs a mesh; node a's form may differ from node b's.
func deploy(t *testing.T, s *mesh.Snapshot, a, b form) *deployment {
	t.Helper()
	authority, err := ca.Open(t.TempDir(), ca.Options{TrustDomain: mesh.DefaultTrustDomain})
	if err != nil {
		t.Fatal(err)
	}
	d := &deployment{path: newPath(t), t: t, authority: authority}
	d.a = d.node("a", d.ztunnelA, a, s)
	d.b = d.node("b", d.ztunnelB, b, s)
	return d
}

func (d *deployment) node(name string, ns *netns, f form, s *mesh.Snapshot) *testProxy {
	d.t.Helper()
	socket := filepath.Join(d.t.TempDir(), "x.sock")
	o := optionsOf(name)
	o.Profile, o.Dialect = f.profile, f.dialect
	c := newController(d.t, o, socket, d.authority)
	c.set(s)
	d.controllers = append(d.controllers, c)
	z := newChild(d.t, name, ns, socket, true)
	z.start()
	d.t.Cleanup(func() {
		if strings.Contains(z.log.String(), "refusing configuration") {
			d.t.Errorf("ztunnel %s refused something:\n%s", name, z.log)
		}
	})
	return z
}

// certificate is what the pod of that identity would present.
func (d *deployment) certificate(identity string) tls.Certificate {
	d.t.Helper()
	chain, key, err := d.authority.Certificate(identity)
	if err != nil {
		d.t.Fatal(err)
	}
	pair, err := tls.X509KeyPair(chain, key)
	if err != nil {
		d.t.Fatal(err)
	}
	return pair
}

// extraPod gives productpage's namespace another address, which no ztunnel
// captures: what listens there is the test's.
func (d *deployment) extraPod(ip string) {
	d.productpage.ip("addr add " + ip + "/32 dev lo")
	d.ztunnelB.ip("route add " + ip + "/32 dev pod")
}

// arrival is a request as a waypoint sees it.
type arrival struct {
	authority string
	header    map[string]string
	caller    string // the identity in the client's certificate
}

// hboneServer ends tunnels at addr as identity does, and echoes.
func (d *deployment) hboneServer(addr, identity string) <-chan arrival {
	d.t.Helper()
	own := d.certificate(identity)
	return d.endTunnels(addr, func() tls.Certificate { return own })
}

// endTunnels is the same with a certificate per connection.
func (d *deployment) endTunnels(addr string, certificate func() tls.Certificate) <-chan arrival {
	d.t.Helper()
	l := d.productpage.listen(addr)
	cfg := &tls.Config{
		GetCertificate: func(*tls.ClientHelloInfo) (*tls.Certificate, error) {
			c := certificate()
			return &c, nil
		},
		MinVersion: tls.VersionTLS13, NextProtos: []string{"h2"}, ClientAuth: tls.RequireAnyClientCert,
	}
	arrivals := make(chan arrival, 16)
	ctx, stop := context.WithCancel(context.Background())
	d.t.Cleanup(stop)
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go serveTunnels(ctx, tls.Server(c, cfg), arrivals)
		}
	}()
	return arrivals
}

func serveTunnels(ctx context.Context, c *tls.Conn, arrivals chan<- arrival) {
	if err := c.HandshakeContext(ctx); err != nil {
		c.Close()
		return
	}
	caller := c.ConnectionState().PeerCertificates[0].URIs[0].String()
	hbone.Serve(ctx, c, hbone.Config{}, func(_ context.Context, r *hbone.Request) {
		a := arrival{authority: r.Authority, header: make(map[string]string), caller: caller}
		for _, f := range r.Header {
			a.header[f.Name] = f.Value
		}
		s, err := r.Accept(200, []hpack.HeaderField{})
		if err != nil {
			return
		}
		arrivals <- a
		io.Copy(s, s)
		s.CloseWrite()
	})
}

// tunnelTo calls productpage's port 15008 with the certificate of an identity, or
// none, from node a.
func (d *deployment) tunnelTo(identity, target string) (int, string, error) {
	d.t.Helper()
	cfg := &tls.Config{InsecureSkipVerify: true, MinVersion: tls.VersionTLS13, NextProtos: []string{"h2"}}
	if identity != "" {
		cfg.Certificates = []tls.Certificate{d.certificate(identity)}
	}
	res, err := tunnelClient(d.t, d.ztunnelA, cfg, "10.4.3.20:15008").Do(tunnelRequest(target, strings.NewReader("hello")))
	if err != nil {
		return 0, "", err
	}
	defer res.Body.Close()
	body, err := io.ReadAll(res.Body)
	return res.StatusCode, string(body), err
}

// everyWay is the article's mesh with a second service on node a itself.
func everyWay() *mesh.Snapshot {
	s := twoNodes()
	s.Services = append(s.Services, mesh.Service{
		Namespace: "default", Name: "sleep", VIP: netip.MustParseAddr("10.8.4.10"),
		Ports: []mesh.ServicePort{{Name: "http", Number: 80, Endpoints: []mesh.Endpoint{{IP: netip.MustParseAddr("10.4.4.19"), Port: 80}}}},
	})
	return s
}

func TestEveryFormCarries(t *testing.T) {
	forms(t, func(t *testing.T, f form) {
		d := deploy(t, everyWay(), f, f)
		peers := map[string]<-chan string{
			"remote":  serve(t, d.productpage, "10.4.3.20:9080", echo),
			"local":   serve(t, d.sleep, "10.4.4.19:80", echo),
			"outside": serve(t, d.productpage, "10.9.9.9:80", echo),
		}
		for _, way := range []struct{ to, who, from string }{
			{"10.8.14.226:9080", "remote", "10.4.4.18"},
			{"10.4.3.20:9080", "remote", "10.4.4.18"},
			{"10.8.4.10:80", "local", "10.4.4.18"},
			{"10.9.9.9:80", "outside", "10.4.4.19"},
		} {
			mustAsk(t, d.sleep, way.to, "to "+way.to)
			if from := <-peers[way.who]; from != way.from {
				t.Errorf("%s was called from %s", way.to, from)
			}
		}
		// The article's form has no check that could fail here; the hardened one
		// has checked both ends by now.
		d.a.untilStat("listener.0.0.0.0_15008.ssl.handshake", 1)
		d.b.untilStat("listener.0.0.0.0_15008.ssl.handshake", 2)
		d.a.logged("envoy://outbound_tunnel_lis_" + sleepID + "/10.4.3.20:9080")
		wait(t, "the internal listener knows where the tunnel leads", func() bool {
			return strings.Contains(d.a.access.String(), " 10.4.3.20:9080 envoy://internal_client_address/ - - outbound tunnel\n")
		})
	})
}

// Ztunnels of different forms understand each other.
func TestFormsTogether(t *testing.T) {
	careful, article := form{envoyconfig.Hardened, envoyconfig.Upstream}, form{}
	for name, pair := range map[string][2]form{"to article": {careful, article}, "to hardened": {article, careful}} {
		t.Run(name, func(t *testing.T) {
			d := deploy(t, everyWay(), pair[0], pair[1])
			serve(t, d.productpage, "10.4.3.20:9080", echo)
			mustAsk(t, d.sleep, "10.8.14.226:9080", "service")
			mustAsk(t, d.sleep, "10.4.3.20:9080", "pod")
		})
	}
}

// What the hardened profile closes, and what the article's leaves open.
func TestHolesOfEveryForm(t *testing.T) {
	forms(t, func(t *testing.T, f form) {
		s := everyWay()
		s.Policies = []mesh.AuthorizationPolicy{{Namespace: "default", Name: "no-81", Action: mesh.Deny, Rules: []mesh.Rule{{
			From: []mesh.Source{{Principals: []string{"cluster.local/ns/default/sa/sleep"}}},
			To:   []mesh.Operation{{Ports: []uint16{81}}},
		}}}}
		s.PeerAuthentications = []mesh.PeerAuthentication{{Namespace: mesh.RootNamespace, Name: "mesh", Mode: mesh.MTLSStrict}}
		d := deploy(t, s, f, f)
		serve(t, d.productpage, "10.4.3.20:9080", echo)
		serve(t, d.productpage, "10.4.3.20:81", echo)
		serve(t, d.productpage, "10.9.9.9:80", echo)
		d.ztunnelB.iptables("mangle", "-A PREROUTING -i pod -s 10.9.9.9/32 -p tcp -j MARK --set-xmark 0x4d3/0xfff")
		for _, tc := range []struct {
			name, identity, target string
			open, closed           int // the status in either profile; 0: no connection
		}{
			{"the pod", sleepID, "10.4.3.20:9080", 200, 200},
			{"without a certificate", "", "10.4.3.20:9080", 200, 0},
			{"another address", sleepID, "10.9.9.9:80", 200, 404},
			{"a port that policy forbids", sleepID, "10.4.3.20:81", 200, 403},
			{"the same port for others", webID, "10.4.3.20:81", 200, 200},
			{"the port in disguise", sleepID, "10.4.3.20:081", 503, 404},
		} {
			want := tc.open
			if f.hardened() {
				want = tc.closed
			}
			status, body, err := d.tunnelTo(tc.identity, tc.target)
			if status != want || (want == 200) != (body == "hello") || (want == 0) != (err != nil) {
				t.Errorf("%s: %d %q, %v; want %d", tc.name, status, body, err, want)
			}
		}
		got, err := ask(t, d.ztunnelA, "10.4.3.20:9080", "plain")
		if f.hardened() != (got == "") {
			t.Errorf("plain connection: %q, %v", got, err)
		}
		if f.hardened() {
			d.b.logged("rbac_access_denied_matched_policy[mtls-strict]")
			d.b.logged("rbac_access_denied_matched_policy[ns[default]-policy[no-81]-rule[0]]")
		}
	})
}

// A policy counts for callers whose tunnels stand already, and from the next
// request on; what is open goes on.
func TestNewPolicyMeetsOldTunnels(t *testing.T) {
	forms(t, func(t *testing.T, f form) {
		d := deploy(t, everyWay(), f, f)
		serve(t, d.productpage, "10.4.3.20:9080", echo)
		old := talk(t, d.sleep, "10.8.14.226:9080")
		s := everyWay()
		s.Policies = []mesh.AuthorizationPolicy{{Namespace: "default", Name: "nobody", Rules: []mesh.Rule{{
			From: []mesh.Source{{Principals: []string{"cluster.local/ns/default/sa/nobody"}}}}}}}
		for _, c := range d.controllers {
			c.set(s)
		}
		d.b.until("the policy is in force", func(st *status) bool { return st.Stats["listener_manager.lds.update_success"] >= 2 })
		if _, err := ask(t, d.sleep, "10.8.14.226:9080", "x"); !errors.Is(err, syscall.ECONNRESET) {
			t.Errorf("a forbidden caller: %v", err)
		}
		say(t, old)
		for _, c := range d.controllers {
			c.set(everyWay())
		}
		d.b.until("the policy is gone", func(st *status) bool { return st.Stats["listener_manager.lds.update_success"] >= 3 })
		mustAsk(t, d.sleep, "10.8.14.226:9080", "allowed again")
		say(t, old)
		// Of the connections only that with the old stream and the newest are left.
		d.b.untilStat("http.inbound_hcm.downstream_cx_http2_active", 2)
		old.CloseWrite()
		d.b.untilStat("http.inbound_hcm.downstream_cx_http2_active", 1)
	})
}
