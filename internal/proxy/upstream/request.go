// SPDX-License-Identifier: Apache-2.0

package upstream

import (
	"errors"
	"fmt"
	"net/netip"

	"golang.org/x/net/http2/hpack"
	"google.golang.org/protobuf/types/known/structpb"

	"github.com/ambient22/ambient22/internal/proxy/accesslog"
	"github.com/ambient22/ambient22/internal/proxy/netio"
)

// Request is what a downstream connection asks of a cluster.
type Request struct {
	// OriginalDst is the downstream's restored local address; zero where no
	// listener filter restored one.
	OriginalDst netip.AddrPort
	// Override is the address that set_dst_address put before OriginalDst.
	Override netip.AddrPort
	// Header gives the headers of the downstream's HTTP request, "" for a header
	// that is not there; nil where it is not HTTP.
	Header func(name string) string
	// Source is whose address plain TCP connections come from; nil: the proxy's.
	Source *netio.Source
	// Tunnel asks for a stream inside a CONNECT request.
	Tunnel *Tunnel
}

// Tunnel is the CONNECT request of a stream.
type Tunnel struct {
	Authority string
	Header    []hpack.HeaderField
}

// Stream is an opened upstream connection or stream.
type Stream struct {
	netio.Conn
	Host  string // the upstream host as Envoy writes it
	Local string // the local address of the connection below; "" unknown
	done  func()
}

// Unwrap is the connection below.
func (s *Stream) Unwrap() netio.Conn { return s.Conn }

// Close closes the stream and counts it as ended.
func (s *Stream) Close() error {
	err := s.Conn.Close()
	if s.done != nil {
		s.done()
		s.done = nil
	}
	return err
}

// Reason says at which step a request failed.
type Reason int

// The reasons, with Envoy's response flags.
const (
	NoCluster     Reason = iota // NC
	NoHost                      // UH
	ConnectFailed               // UF
)

// Flag is Envoy's response flag.
func (r Reason) Flag() string {
	return [...]string{
		accesslog.FlagNoClusterFound, accesslog.FlagNoHealthyUpstream, accesslog.FlagUpstreamConnectionFailure,
	}[r]
}

// Failure is why a request got no stream.
type Failure struct {
	Reason Reason
	Host   string // the host that was tried, if any
	TLS    bool   // the TLS handshake failed
	Err    error
}

func (f *Failure) Error() string {
	if f.Err == nil {
		return f.Reason.Flag()
	}
	return fmt.Sprintf("%s: %v", f.Reason.Flag(), f.Err)
}

// Transport is what Envoy calls the transport's failure reason: why TLS failed;
// "" where it did not.
func (f *Failure) Transport() string {
	var unverified *verifyError
	switch {
	case !f.TLS:
		return ""
	case errors.As(f.Err, &unverified):
		return "TLS error: " + unverified.Error()
	}
	return fmt.Sprintf("TLS error: %v", f.Err)
}

// Unwrap gives the error below.
func (f *Failure) Unwrap() error { return f.Err }

// InternalDialer connects to an internal listener of this proxy.
type InternalDialer func(listener, endpointID string, metadata map[string]*structpb.Struct) (netio.Conn, error)
