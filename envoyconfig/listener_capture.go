// SPDX-License-Identifier: Apache-2.0

package envoyconfig

import (
	"strconv"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	listenerv3 "github.com/envoyproxy/go-control-plane/envoy/config/listener/v3"
	originaldstv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/listener/original_dst/v3"
	originalsrcv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/listener/original_src/v3"
	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/wrapperspb"
)

// Linux's numbers for setsockopt.
const (
	solSocket = 1
	soMark    = 36
)

// captureListener is what the three listeners for captured connections have in
// common. They are transparent because the connections are addressed to others,
// and their sockets carry a mark because the answers must leave through the
// tunnel they came in by.
func (b *builder) captureListener(name string, port uint32, mark int64, direction, place string) *listenerv3.Listener {
	return &listenerv3.Listener{
		Name:           name,
		Address:        socketAddress("0.0.0.0", port),
		Transparent:    wrapperspb.Bool(true),
		UseOriginalDst: wrapperspb.Bool(true),
		ListenerFilters: []*listenerv3.ListenerFilter{
			listenerFilter(&b.packer, originalDstFilter, &originaldstv3.OriginalDst{}),
			listenerFilter(&b.packer, "envoy.filters.listener.original_src", &originalsrcv3.OriginalSrc{Mark: originalSrcMark}),
		},
		SocketOptions: []*corev3.SocketOption{{
			Description: "Set socket mark to packets coming back from " + direction + " listener",
			Level:       solSocket,
			Name:        soMark,
			Value:       &corev3.SocketOption_IntValue{IntValue: mark},
			State:       corev3.SocketOption_STATE_PREBIND,
		}},
		AccessLog: b.accessLog(place),
	}
}

// metadataFilter tells who is behind a source address. Its configuration comes
// over ECDS, so that a new pod does not replace the listener and drain it.
func metadataFilter() *listenerv3.ListenerFilter {
	return &listenerv3.ListenerFilter{
		Name: MetadataName,
		ConfigType: &listenerv3.ListenerFilter_ConfigDiscovery{ConfigDiscovery: &corev3.ExtensionConfigSource{
			ConfigSource: &corev3.ConfigSource{
				ConfigSourceSpecifier: &corev3.ConfigSource_Ads{Ads: &corev3.AggregatedConfigSource{}},
				InitialFetchTimeout:   &durationpb.Duration{Seconds: 30},
			},
			TypeUrls: []string{workloadMetadataType},
		}},
	}
}

func socketAddress(ip string, port uint32) *corev3.Address {
	return &corev3.Address{Address: &corev3.Address_SocketAddress{SocketAddress: &corev3.SocketAddress{
		Address:       ip,
		PortSpecifier: &corev3.SocketAddress_PortValue{PortValue: port},
	}}}
}

func hostPort(ip string, port uint16) string { return ip + ":" + strconv.Itoa(int(port)) }
