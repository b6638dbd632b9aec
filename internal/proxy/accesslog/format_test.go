// SPDX-License-Identifier: Apache-2.0

package accesslog

import (
	"math"
	"strings"
	"testing"
	"time"

	"google.golang.org/protobuf/types/known/structpb"
)

// served is the format of the listeners (listings 09, 12 and 19).
const served = `[%START_TIME%] "%REQ(:METHOD)% %REQ(X-ENVOY-ORIGINAL-PATH?:PATH)% %PROTOCOL%" %RESPONSE_CODE% %RESPONSE_FLAGS% ` +
	`%RESPONSE_CODE_DETAILS% %CONNECTION_TERMINATION_DETAILS% "%UPSTREAM_TRANSPORT_FAILURE_REASON%" %BYTES_RECEIVED% %BYTES_SENT% ` +
	`%DURATION% %RESP(X-ENVOY-UPSTREAM-SERVICE-TIME)% "%REQ(X-FORWARDED-FOR)%" "%REQ(USER-AGENT)%" "%REQ(X-REQUEST-ID)%" ` +
	`"%REQ(:AUTHORITY)%" "%UPSTREAM_HOST%" %UPSTREAM_CLUSTER% %UPSTREAM_LOCAL_ADDRESS% %DOWNSTREAM_LOCAL_ADDRESS% ` +
	`%DOWNSTREAM_REMOTE_ADDRESS% %REQUESTED_SERVER_NAME% %ROUTE_NAME% inbound hcm` + "\n"

func metadata(t testing.TB, namespace string, fields map[string]any) map[string]*structpb.Struct {
	s, err := structpb.NewStruct(fields)
	if err != nil {
		t.Fatal(err)
	}
	return map[string]*structpb.Struct{namespace: s}
}

// tunnel is the record of a CONNECT request, as productpage's ztunnel sees it.
func tunnel(t testing.TB) *Entry {
	header := map[string]string{":method": "CONNECT", ":authority": "10.4.3.20:9080", "user-agent": "curl/7.88", "x-envoy-original-dst-host": "10.4.3.20:9080"}
	return &Entry{
		Start:         time.Date(2022, 9, 14, 3, 4, 5, 678_912_345, time.FixedZone("", 3600)),
		Duration:      1234567 * time.Microsecond,
		Protocol:      "HTTP/2",
		ResponseCode:  200,
		BytesReceived: 88, BytesSent: 5179,
		ResponseCodeDetails:     "via_upstream",
		RequestHeader:           func(name string) string { return header[name] },
		UpstreamHost:            "10.4.3.20:9080",
		UpstreamCluster:         "virtual_inbound",
		UpstreamLocalAddress:    "10.4.4.19:43211",
		DownstreamLocalAddress:  "10.4.3.20:15008",
		DownstreamRemoteAddress: "10.4.4.19:39000",
		RouteName:               "default",
		DynamicMetadata: metadata(t, "tunnel", map[string]any{
			"destination": "10.4.3.20:9080", "address": "10.4.3.20:15008",
			"deep":     map[string]any{"number": 7, "list": []any{"a", true}, "none": nil},
			"infinite": math.Inf(1),
		}),
	}
}

func TestServedFormat(t *testing.T) {
	f, err := Parse(served)
	if err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		entry *Entry
		want  string
	}{
		"tunnel": {tunnel(t), `[2022-09-14T02:04:05.678Z] "CONNECT - HTTP/2" 200 - via_upstream - "-" 88 5179 1234 - "-" "curl/7.88" "-" "10.4.3.20:9080" "10.4.3.20:9080" virtual_inbound 10.4.4.19:43211 10.4.3.20:15008 10.4.4.19:39000 - default inbound hcm`},
		"TCP that failed": {&Entry{
			Start: time.Date(2022, 9, 14, 2, 4, 5, 0, time.UTC), ResponseFlags: FlagUpstreamConnectionFailure + "," + FlagUpstreamRetryLimitExceeded,
			UpstreamTransportFailureReason: "TLS error: bad\ncertificate", UpstreamCluster: "outbound_tunnel_clus", DownstreamLocalAddress: "10.8.14.226:9080",
		}, `[2022-09-14T02:04:05.000Z] "- - -" 0 UF,URX - - "TLS_error:_bad_certificate" 0 0 0 - "-" "-" "-" "-" "-" outbound_tunnel_clus - 10.8.14.226:9080 - - - inbound hcm`},
		"nothing": {&Entry{}, `[-] "- - -" 0 - - - "-" 0 0 0 - "-" "-" "-" "-" "-" - - - - - - inbound hcm`},
	} {
		if got := string(f.Append([]byte(">"), c.entry)); got != ">"+c.want+"\n" {
			t.Errorf("%s:\n got %s\nwant %s", name, got, c.want)
		}
	}
}

func TestOperators(t *testing.T) {
	e := tunnel(t)
	for format, want := range map[string]string{
		"":                                   "",
		"plain":                              "plain",
		"100%%":                              "100%",
		"%%%PROTOCOL%%%":                     "%HTTP/2%",
		"%DOWNSTREAM_LOCAL_ADDRESS%":         "10.4.3.20:15008",
		"%REQ(X-ENVOY-ORIGINAL-DST-HOST)%":   "10.4.3.20:9080",
		"%REQ(none?:authority)%":             "10.4.3.20:9080",
		"%REQ(:METHOD?:PATH)%":               "CONNECT",
		"%REQ(user-agent):4%":                "curl",
		"%REQ(user-agent):0%":                "",
		"%REQ(user-agent):99%":               "curl/7.88",
		"%REQ(none):1%":                      "-",
		"%RESP(server)%":                     "-",
		"%DYNAMIC_METADATA(tunnel:address)%": "10.4.3.20:15008",
		`%DYNAMIC_METADATA(["tunnel", "destination"])%`:    "10.4.3.20:9080",
		`%DYNAMIC_METADATA(["tunnel", "deep", "number"])%`: "7",
		"%DYNAMIC_METADATA(tunnel:deep:list)%":             `["a",true]`,
		"%DYNAMIC_METADATA(tunnel:deep)%":                  `{"list":["a",true],"none":null,"number":7}`,
		"%DYNAMIC_METADATA(tunnel:destination):6%":         "10.4.3",
		"%DYNAMIC_METADATA(tunnel:deep:none)%":             "-",
		"%DYNAMIC_METADATA(tunnel:infinite)%":              `"Infinity"`,
		"%DYNAMIC_METADATA(tunnel:none)%":                  "-",
		"%DYNAMIC_METADATA(tunnel:address:below)%":         "-",
		"%DYNAMIC_METADATA(other:address)%":                "-",
		"%START_TIME(%Y/%m/%dT%H:%M:%S.%3f)%":              "2022/09/14T02:04:05.678",
		"%START_TIME(%s.%6f %E9S %f %% %b)%":               "1663121045.678912 05.678912345 678912345 % Sep",
		"%START_TIME(%FT%TZ)% %DURATION%":                  "2022-09-14T02:04:05Z 1234",
		"(%ROUTE_NAME%) a:b %REQUESTED_SERVER_NAME%":       "(default) a:b -",
	} {
		f, err := Parse(format)
		if err != nil {
			t.Errorf("%s: %v", format, err)
			continue
		}
		if got := string(f.Append(nil, e)); got != want {
			t.Errorf("%s: got %q, want %q", format, got, want)
		}
	}
}

func TestParseNamesWhatIsWrong(t *testing.T) {
	for format, want := range map[string]string{
		"a %FOO% b":                          `at byte 2: unknown operator "FOO"`,
		"%foo(bar)%":                         `unknown operator "foo"`,
		"%PROTOCOL":                          "is not closed by %",
		"50% of":                             "is not closed by %",
		"% %":                                `unknown operator " "`,
		"%REQ(x%":                            "not closed by )",
		"%REQ()%":                            "HEADER",
		"%REQ%":                              "HEADER",
		"%REQ(a?b?c)%":                       "HEADER",
		"%REQ(a):x%":                         `unexpected ":x"`,
		"%REQ(a):-1%":                        "unexpected",
		"%REQ(a)b%":                          `unexpected "b"`,
		"%PROTOCOL(x)%":                      "takes no argument",
		"%DURATION:3%":                       "takes no argument and no length",
		"%START_TIME:3%":                     "takes no length",
		"%START_TIME(%Q)%":                   `unknown time specifier "%Q"`,
		"%START_TIME(%E2X)%":                 "unknown time specifier",
		"%DYNAMIC_METADATA()%":               "names no namespace",
		`%DYNAMIC_METADATA([])%`:             "names no namespace",
		`%DYNAMIC_METADATA(["a", 1])%`:       "JSON array of strings",
		`%DYNAMIC_METADATA(["a)%`:            "JSON array of strings",
		"%" + strings.Repeat("X", 100) + "%": `XXX..."`,
	} {
		_, err := Parse(format)
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: got %v, want %q", format, err, want)
		}
	}
}

// FuzzParse looks for formats that Parse accepts and Append cannot print.
func FuzzParse(f *testing.F) {
	f.Add(served)
	f.Add(`%DYNAMIC_METADATA(["tunnel", "destination"])%:%REQ(a?b):3%%%`)
	f.Add("%START_TIME(%Y%m%d %E3S %s)%")
	e := tunnel(f)
	f.Fuzz(func(t *testing.T, format string) {
		parsed, err := Parse(format)
		if err != nil {
			return
		}
		parsed.Append(nil, &Entry{})
		parsed.Append(nil, e)
	})
}

func BenchmarkServedFormat(b *testing.B) {
	f, err := Parse(served)
	if err != nil {
		b.Fatal(err)
	}
	e := tunnel(b)
	var buf []byte
	b.ReportAllocs()
	for b.Loop() {
		buf = f.Append(buf[:0], e)
	}
}
