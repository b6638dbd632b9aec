// SPDX-License-Identifier: Apache-2.0

package xds

import (
	"context"
	"net"
	"slices"
	"testing"
	"time"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	sotwclient "github.com/envoyproxy/go-control-plane/pkg/client/sotw/v3"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/anypb"

	"github.com/ambient22/ambient22/envoyconfig"
)

// gcpClient is go-control-plane's ADS client for one type. It speaks state of the
// world and can only ask for everything.
type gcpClient struct {
	sotwclient.ADSClient
	t *testing.T
	k kind
}

func newGCPClient(t *testing.T, s *running, k kind) *gcpClient {
	c := &gcpClient{
		ADSClient: sotwclient.NewADSClient(t.Context(), &corev3.Node{Id: "go-control-plane " + k.String()}, k.typeURL()), t: t, k: k,
	}
	c.connect(s)
	return c
}

func (c *gcpClient) connect(s *running) {
	c.t.Helper()
	if err := c.InitConnect(s.dial()); err != nil {
		c.t.Fatal(err)
	}
}

// want fetches a response and compares it with what is served, bytes and all.
func (c *gcpClient) want(r *envoyconfig.Resources) {
	c.t.Helper()
	response, err := c.Fetch()
	if err != nil {
		c.t.Fatal(err)
	}
	served := resourcesOf(r, c.k)
	if len(response.Resources) != len(served) {
		c.t.Fatalf("%d %ss, served are %d", len(response.Resources), c.k, len(served))
	}
	for i, got := range response.Resources {
		if !proto.Equal(got, served[i].Body()) {
			c.t.Errorf("%s %s differs", c.k, served[i].Name)
		}
		c.validate(got)
	}
}

func (c *gcpClient) validate(body *anypb.Any) {
	c.t.Helper()
	m, err := body.UnmarshalNew()
	if err != nil {
		c.t.Fatal(err)
	}
	if err := m.(interface{ ValidateAll() error }).ValidateAll(); err != nil {
		c.t.Error(err)
	}
}

func (c *gcpClient) ack() {
	c.t.Helper()
	if err := c.Ack(); err != nil {
		c.t.Fatal(err)
	}
}

// status is what the server says of the client.
func (c *gcpClient) status(s *running) TypeStatus {
	for _, p := range s.Status() {
		if p.Node == "go-control-plane "+c.k.String() && len(p.Types) == 1 {
			return p.Types[0]
		}
	}
	return TypeStatus{}
}

// TestGoControlPlaneClient serves a mesh to go-control-plane's own client: all
// types, acknowledged, rejected, changed, and again after the server was away.
func TestGoControlPlaneClient(t *testing.T) {
	s := start(t)
	builder := envoyconfig.NewBuilder(envoyconfig.Options{Node: "node"})
	set := func(services int) *envoyconfig.Resources {
		t.Helper()
		r, err := builder.Update(flatMesh(5, services, 0), "ztunnel.istio-system")
		if err == nil {
			err = s.Set(r)
		}
		if err != nil {
			t.Fatal(err)
		}
		return r
	}
	first := set(3)
	l, c := newGCPClient(t, s, listeners), newGCPClient(t, s, clusters)
	others := []*gcpClient{newGCPClient(t, s, endpoints), newGCPClient(t, s, extensions), newGCPClient(t, s, secrets)}
	for _, client := range []*gcpClient{l, c} {
		client.want(first)
		client.ack()
		eventually(t, "the ACK is in", func() bool { return client.status(s).Accepted != "" })
	}
	// These types have no "everything": who names nothing is sent nothing.
	for _, client := range others {
		eventually(t, "the subscription is known", func() bool { return client.status(s).Type == client.k.typeURL() })
		if got := client.status(s); got.Sent != "" || got.Wildcard {
			t.Errorf("%s: %+v", client.k, got)
		}
	}

	second := set(4)
	c.want(second)
	accepted := c.status(s).Accepted
	name := second.Clusters[2].Name
	if err := c.Nack("cluster " + name + " is not to my taste"); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the NACK is in", func() bool { return c.status(s).NACKs == 1 })
	if got := c.status(s); got.Accepted != accepted || !slices.Equal(got.Rejected, []string{name}) {
		t.Errorf("status %+v", got)
	}
	l.want(second) // goes on all the same
	l.ack()

	third := set(5)
	c.want(third)
	c.ack()
	eventually(t, "nothing is rejected", func() bool { return len(c.status(s).Rejected) == 0 })
	l.want(third)
	l.ack()

	s.again(t)
	if _, err := c.Fetch(); !sotwclient.IsConnError(err) {
		t.Fatalf("the server has gone, the client says %v", err)
	}
	c.connect(s)
	c.want(third)
	c.ack()
	c.want(set(6))
}

// again stops serving and begins anew on the same socket.
func (r *running) again(t testing.TB) {
	t.Helper()
	if err := r.stop(); err != nil {
		t.Fatal(err)
	}
	var lis net.Listener
	eventually(t, "the socket is free", func() (ok bool) {
		var err error
		lis, err = Listen(r.path)
		return err == nil
	})
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Minute)
	served := make(chan error, 1)
	go func() { served <- r.Serve(ctx, lis) }()
	t.Cleanup(func() {
		cancel()
		if err := <-served; err != nil {
			t.Errorf("serving again: %v", err)
		}
	})
}
