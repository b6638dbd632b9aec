// SPDX-License-Identifier: Apache-2.0

package envoyconfig

import (
	accesslogv3 "github.com/envoyproxy/go-control-plane/envoy/config/accesslog/v3"
	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	filev3 "github.com/envoyproxy/go-control-plane/envoy/extensions/access_loggers/file/v3"
)

// Places, the last words of an access log line: they tell a reader which listener
// or chain wrote it.
const (
	placeOutbound           = "outbound capture listener"
	placeService            = "capture outbound (no waypoint proxy)"
	placePod                = "capture outbound pod (no waypoint proxy)"
	placeClientWaypoint     = "capture outbound (to client waypoint proxy)"
	placeServerWaypoint     = "capture outbound (to server waypoint proxy)"
	placePassthrough        = "passthrough"
	placeBlackHoleOutbound  = "blackhole outbound"
	placeTunnel             = "outbound tunnel"
	placeInbound            = "capture inbound listener"
	placeInboundHCM         = "inbound hcm"
	placeInboundNative      = "inbound passthrough"
	placeBlackHoleInbound   = "blackhole inbound"
	placePlaintext          = "capture inbound listener plaintext"
	placeBlackHolePlaintext = "blackhole inbound plaintext"
)

// logFields is the line without its place and newline: Envoy's own fields as
// Istio arranged them in 2022.
const logFields = `[%START_TIME%] "%REQ(:METHOD)% %REQ(X-ENVOY-ORIGINAL-PATH?:PATH)% %PROTOCOL%" ` +
	`%RESPONSE_CODE% %RESPONSE_FLAGS% %RESPONSE_CODE_DETAILS% %CONNECTION_TERMINATION_DETAILS% ` +
	`"%UPSTREAM_TRANSPORT_FAILURE_REASON%" %BYTES_RECEIVED% %BYTES_SENT% %DURATION% ` +
	`%RESP(X-ENVOY-UPSTREAM-SERVICE-TIME)% "%REQ(X-FORWARDED-FOR)%" "%REQ(USER-AGENT)%" ` +
	`"%REQ(X-REQUEST-ID)%" "%REQ(:AUTHORITY)%" "%UPSTREAM_HOST%" %UPSTREAM_CLUSTER% ` +
	`%UPSTREAM_LOCAL_ADDRESS% %DOWNSTREAM_LOCAL_ADDRESS% %DOWNSTREAM_REMOTE_ADDRESS% ` +
	`%REQUESTED_SERVER_NAME% %ROUTE_NAME% `

// accessLog writes to the proxy's standard output; one is built per place.
func (b *builder) accessLog(place string) []*accesslogv3.AccessLog {
	if log, ok := b.logs[place]; ok {
		return log
	}
	log := []*accesslogv3.AccessLog{{
		Name: "envoy.access_loggers.file",
		ConfigType: &accesslogv3.AccessLog_TypedConfig{TypedConfig: b.any(&filev3.FileAccessLog{
			Path: "/dev/stdout",
			AccessLogFormat: &filev3.FileAccessLog_LogFormat{LogFormat: &corev3.SubstitutionFormatString{
				Format: &corev3.SubstitutionFormatString_TextFormatSource{TextFormatSource: &corev3.DataSource{
					Specifier: &corev3.DataSource_InlineString{InlineString: logFields + place + "\n"},
				}},
			}},
		})},
	}}
	b.logs[place] = log
	return log
}
