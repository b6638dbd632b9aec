// SPDX-License-Identifier: Apache-2.0

package accesslog

import (
	"time"

	"google.golang.org/protobuf/types/known/structpb"
)

// Missing is what an operator prints whose value an entry does not have.
const Missing = "-"

// Entry is what one connection or request has to say. The zero value of a text
// field means that there is no such value. Addresses are text, because those of
// internal listeners are names and not IP addresses.
type Entry struct {
	Start    time.Time
	Duration time.Duration // from Start until everything was sent

	Protocol                       string // "HTTP/2"; empty for plain TCP
	ResponseCode                   int    // 0 for TCP and where no response was sent
	ResponseFlags                  string // Flag constants, joined by commas
	ResponseCodeDetails            string
	ConnectionTerminationDetails   string
	UpstreamTransportFailureReason string

	BytesReceived int64 // from downstream
	BytesSent     int64 // to downstream

	// RequestHeader and ResponseHeader return a header field's value by its
	// lower-case name, pseudo-header fields (":authority") included, or "". nil
	// stands for no header.
	RequestHeader  func(name string) string
	ResponseHeader func(name string) string

	UpstreamHost            string
	UpstreamCluster         string
	UpstreamLocalAddress    string
	DownstreamLocalAddress  string
	DownstreamRemoteAddress string
	RequestedServerName     string // SNI
	RouteName               string

	// DynamicMetadata is what filters left behind, by their namespace.
	DynamicMetadata map[string]*structpb.Struct
}
