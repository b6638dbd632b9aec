// SPDX-License-Identifier: Apache-2.0

package bootstrap_test

import (
	"net/netip"
	"strings"
	"testing"

	bootstrapv3 "github.com/envoyproxy/go-control-plane/envoy/config/bootstrap/v3"
	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"

	"github.com/ambient22/ambient22/internal/golden"
	"github.com/ambient22/ambient22/internal/proxy/bootstrap"
)

// ztunnelA is the article's ztunnel on node A.
func ztunnelA() bootstrap.Options {
	o := bootstrap.Default()
	o.PodName = "ztunnel-rts54"
	o.PodNamespace = "istio-system"
	o.PodIP = netip.MustParseAddr("10.4.4.18")
	o.NodeName = "gke-jimmy-cluster-default-pool-d5041909-d10i"
	return o
}

func TestBootstrapOfTheArticlesZtunnel(t *testing.T) {
	golden.Check(t, "testdata/ztunnel-a.json", render(t, ztunnelA()))
}

// A later reader (Envoy, the embedded proxy) must get back what was built.
func TestJSONReadsBackAsTheSameMessage(t *testing.T) {
	want, err := bootstrap.Build(ztunnelA())
	if err != nil {
		t.Fatal(err)
	}
	var got bootstrapv3.Bootstrap
	if err := protojson.Unmarshal(render(t, ztunnelA()), &got); err != nil {
		t.Fatal(err)
	}
	if !proto.Equal(want, &got) {
		t.Error("the printed bootstrap reads back as another message")
	}
}

func TestOptionsReachTheMessage(t *testing.T) {
	o := ztunnelA()
	o.Delta = true
	o.XDSSocket = "/run/other.sock"
	o.AdminAddr = netip.MustParseAddrPort("127.0.0.2:15999")
	o.ClusterID = "east"
	b, err := bootstrap.Build(o)
	if err != nil {
		t.Fatal(err)
	}
	if got := b.GetDynamicResources().GetAdsConfig().GetApiType(); got != corev3.ApiConfigSource_DELTA_GRPC {
		t.Errorf("ADS is %s, want DELTA_GRPC", got)
	}
	for _, c := range b.GetStaticResources().GetClusters() {
		pipe := c.GetLoadAssignment().GetEndpoints()[0].GetLbEndpoints()[0].GetEndpoint().GetAddress().GetPipe()
		if pipe.GetPath() != o.XDSSocket {
			t.Errorf("cluster %s goes to %q, want %q", c.GetName(), pipe.GetPath(), o.XDSSocket)
		}
	}
	admin := b.GetAdmin().GetAddress().GetSocketAddress()
	if admin.GetAddress() != "127.0.0.2" || admin.GetPortValue() != 15999 {
		t.Errorf("admin listens on %s:%d", admin.GetAddress(), admin.GetPortValue())
	}
	if got := b.GetNode().GetMetadata().GetFields()["CLUSTER_ID"].GetStringValue(); got != "east" {
		t.Errorf("CLUSTER_ID is %q, want east", got)
	}
}

func TestEveryWrongOptionIsNamedAtOnce(t *testing.T) {
	o := bootstrap.Default()
	o.PodName = "a~b"
	o.PodIP = netip.MustParseAddr("2001:db8::1")
	o.XDSSocket = "xds.sock"
	o.AdminAddr = netip.AddrPort{}
	_, err := bootstrap.Build(o)
	if err == nil {
		t.Fatal("options with five faults were taken")
	}
	for _, want := range []string{
		`pod name "a~b" contains`, "pod namespace is empty", "node name is empty",
		`pod IP "2001:db8::1" is not an IPv4 address`, `xDS socket "xds.sock" is not an absolute path`,
		"admin address needs",
	} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("error does not name %q:\n%v", want, err)
		}
	}
	o = ztunnelA()
	o.XDSSocket = "/" + strings.Repeat("x", 107)
	if _, err := bootstrap.Build(o); err == nil || !strings.Contains(err.Error(), "108 bytes long") {
		t.Errorf("a socket path of 108 bytes gave %v", err)
	}
}

func render(t *testing.T, o bootstrap.Options) []byte {
	t.Helper()
	b, err := bootstrap.Build(o)
	if err != nil {
		t.Fatal(err)
	}
	text, err := bootstrap.JSON(b)
	if err != nil {
		t.Fatal(err)
	}
	return text
}
