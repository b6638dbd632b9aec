// SPDX-License-Identifier: Apache-2.0

package proxy

import (
	"context"
	"net/netip"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/ambient22/ambient22/envoyconfig"
	"github.com/ambient22/ambient22/internal/ca"
	"github.com/ambient22/ambient22/internal/mesh"
	"github.com/ambient22/ambient22/xds"
)

// twoNodes is the article's mesh, with a second pod behind the service.
func twoNodes() *mesh.Snapshot {
	pod := func(uid, name, account, node, ip, app string) mesh.Workload {
		return mesh.Workload{
			UID: uid, Namespace: "default", Name: name, ServiceAccount: account, Node: node, IP: netip.MustParseAddr(ip),
			Labels: map[string]string{"app": app}, Containers: []string{app}, Owner: mesh.Owner{Name: app},
			Created: time.Unix(1, 0), Ready: true, Class: mesh.InMesh,
		}
	}
	return &mesh.Snapshot{
		TrustDomain: mesh.DefaultTrustDomain,
		Nodes:       []mesh.Node{{Name: "a", PodCIDR: netip.MustParsePrefix("10.4.4.0/24")}, {Name: "b", PodCIDR: netip.MustParsePrefix("10.4.3.0/24")}},
		Workloads: []mesh.Workload{
			pod("u-1", "productpage-1", "bookinfo-productpage", "b", "10.4.3.20", "productpage"),
			pod("u-2", "sleep-1", "sleep", "a", "10.4.4.19", "sleep"),
		},
		Services: []mesh.Service{{
			Namespace: "default", Name: "productpage", VIP: netip.MustParseAddr("10.8.14.226"),
			Ports: []mesh.ServicePort{{Name: "http", Number: 9080, Endpoints: []mesh.Endpoint{{IP: netip.MustParseAddr("10.4.3.20"), Port: 9080}}}},
		}},
	}
}

// controller is the node controller's half: the mesh's resources for one node
// over a socket.
type controller struct {
	t       testing.TB
	options envoyconfig.Options
	server  *xds.Server
}

func newController(t testing.TB, o envoyconfig.Options, socket string, authority *ca.Authority) *controller {
	t.Helper()
	c := &controller{t: t, options: o, server: xds.New(xds.Config{Secrets: authority})}
	l, err := xds.Listen(socket)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- c.server.Serve(ctx, l) }()
	t.Cleanup(func() {
		cancel()
		<-done
	})
	return c
}

func optionsOf(node string) envoyconfig.Options {
	return envoyconfig.Options{Node: node, ProxyID: "ztunnel-" + node + ".istio-system"}
}

func (c *controller) set(s *mesh.Snapshot) {
	c.t.Helper()
	r, err := envoyconfig.Build(s, c.options)
	if err == nil {
		err = c.server.Set(r)
	}
	if err != nil {
		c.t.Fatal(err)
	}
}

func TestOwnControlPlane(t *testing.T) {
	for name, delta := range map[string]bool{"incremental": true, "state of the world": false} {
		t.Run(name, func(t *testing.T) {
			authority, err := ca.Open(t.TempDir(), ca.Options{TrustDomain: mesh.DefaultTrustDomain})
			if err != nil {
				t.Fatal(err)
			}
			p := newPath(t)
			world := twoNodes()
			var controllers []*controller
			var proxies []*testProxy
			for node, ns := range map[string]*netns{"a": p.ztunnelA, "b": p.ztunnelB} {
				socket := filepath.Join(t.TempDir(), "x.sock")
				c := newController(t, optionsOf(node), socket, authority)
				c.set(world)
				z := newChild(t, node, ns, socket, delta)
				z.start()
				controllers, proxies = append(controllers, c), append(proxies, z)
			}
			serve(t, p.productpage, "10.4.3.20:9080", echo)
			mustAsk(t, p.sleep, "10.8.14.226:9080", "first")
			old := talk(t, p.sleep, "10.8.14.226:9080")

			// A pod and a service more, while a connection stands.
			more := twoNodes()
			extra := more.Workloads[0]
			extra.UID, extra.Name, extra.IP = "u-3", "productpage-2", netip.MustParseAddr("10.4.3.21")
			more.Workloads = append(more.Workloads[:1:1], extra, more.Workloads[1])
			second := more.Services[0]
			second.Name, second.VIP = "second", netip.MustParseAddr("10.8.14.227")
			more.Services = append(more.Services, second)
			for _, c := range controllers {
				c.set(more)
			}
			wait(t, "the new service answers", func() bool {
				got, err := ask(t, p.sleep, "10.8.14.227:9080", "x")
				return err == nil && got == "x"
			})
			say(t, old)

			// And away again.
			for _, c := range controllers {
				c.set(world)
			}
			wait(t, "the new service is gone", func() bool {
				got, _ := ask(t, p.sleep, "10.8.14.227:9080", "x")
				return got == ""
			})
			say(t, old)
			mustAsk(t, p.sleep, "10.8.14.226:9080", "last")
			for _, z := range proxies {
				if log := z.log.String(); strings.Contains(log, "refusing configuration") {
					t.Errorf("ztunnel %s refused something", z.node)
				}
			}
		})
	}
}
