// SPDX-License-Identifier: Apache-2.0

package strict

import (
	"errors"
	"strings"
	"testing"

	clusterv3 "github.com/envoyproxy/go-control-plane/envoy/config/cluster/v3"
	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/known/anypb"
	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/structpb"
)

// schema understands a cluster's name, timeout, type and its packed options.
func schema() Schema {
	return Schema{
		"envoy.config.cluster.v3.Cluster": {
			"name": nil, "connect_timeout": nil, "type": Enum(clusterv3.Cluster_EDS), "typed_extension_protocol_options": nil, "metadata": nil,
		},
		"google.protobuf.Duration":         nil,
		"envoy.config.core.v3.Metadata":    {"filter_metadata": func(protoreflect.Value) error { return errors.New("looked at") }},
		"google.protobuf.Struct":           nil,
		"envoy.config.core.v3.HeaderValue": {"key": nil},
		"not.registered.Anywhere":          {},
		"not.registered.Data":              nil,
	}
}

func options(t *testing.T, a *anypb.Any) *clusterv3.Cluster {
	t.Helper()
	return &clusterv3.Cluster{Name: "x", TypedExtensionProtocolOptions: map[string]*anypb.Any{"k": a}}
}

func packed(t *testing.T, m *corev3.HeaderValue) *anypb.Any {
	t.Helper()
	a, err := anypb.New(m)
	if err != nil {
		t.Fatal(err)
	}
	return a
}

func TestCheck(t *testing.T) {
	unknown := &clusterv3.Cluster{Name: "x"}
	unknown.ProtoReflect().SetUnknown([]byte{0xd0, 0x86, 0x03, 0x01}) // field 6250, varint
	deep := &corev3.HeaderValue{Key: "a"}
	deep.ProtoReflect().SetUnknown([]byte{0xc8, 0x01, 0x01})
	for name, tc := range map[string]struct {
		m    *clusterv3.Cluster
		want string // "" for none
	}{
		"nothing":               {&clusterv3.Cluster{Name: "x"}, ""},
		"data is not walked":    {&clusterv3.Cluster{Name: "x", ConnectTimeout: durationpb.New(5)}, ""},
		"field":                 {&clusterv3.Cluster{Name: "x", AltStatName: "y"}, "alt_stat_name: field is not supported"},
		"allowed enum value":    {&clusterv3.Cluster{Name: "x", ClusterDiscoveryType: &clusterv3.Cluster_Type{Type: clusterv3.Cluster_EDS}}, ""},
		"enum value":            {&clusterv3.Cluster{Name: "x", ClusterDiscoveryType: &clusterv3.Cluster_Type{Type: clusterv3.Cluster_STATIC}}, "type: value STATIC"},
		"unknown enum value":    {&clusterv3.Cluster{Name: "x", ClusterDiscoveryType: &clusterv3.Cluster_Type{Type: 99}}, "type: value 99 is unknown"},
		"unknown field":         {unknown, "unknown field number 6250"},
		"packed":                {options(t, packed(t, &corev3.HeaderValue{Key: "a"})), ""},
		"field of packed":       {options(t, packed(t, &corev3.HeaderValue{Key: "a", Value: "b"})), `typed_extension_protocol_options["k"].value: field`},
		"unknown in packed":     {options(t, packed(t, deep)), `typed_extension_protocol_options["k"]: message`},
		"packed type":           {options(t, &anypb.Any{TypeUrl: "x/envoy.config.core.v3.Node"}), `type "x/envoy.config.core.v3.Node"`},
		"packed without a type": {options(t, &anypb.Any{TypeUrl: "x/not.registered.Anywhere"}), "unpacking"},
		"packed data":           {options(t, &anypb.Any{TypeUrl: "x/not.registered.Data", Value: []byte{0xff}}), ""},
		"damaged":               {options(t, &anypb.Any{TypeUrl: "x/envoy.config.core.v3.HeaderValue", Value: []byte{0xff}}), "unpacking"},
		"own constraints":       {&clusterv3.Cluster{}, "Name"},
		"map values":            {&clusterv3.Cluster{Name: "x", Metadata: &corev3.Metadata{FilterMetadata: map[string]*structpb.Struct{"n": {}}}}, `metadata.filter_metadata["n"]: looked at`},
	} {
		t.Run(name, func(t *testing.T) {
			err := schema().Check(tc.m)
			switch {
			case tc.want == "" && err != nil:
				t.Errorf("refused: %v", err)
			case tc.want != "" && (err == nil || !strings.Contains(err.Error(), tc.want)):
				t.Errorf("error %v, want %q", err, tc.want)
			}
		})
	}
}

func TestString(t *testing.T) {
	rule := String("a", "b")
	if err := rule(protoreflect.ValueOfString("b")); err != nil {
		t.Error(err)
	}
	if err := rule(protoreflect.ValueOfString("c")); err == nil {
		t.Error("c was accepted")
	}
}
