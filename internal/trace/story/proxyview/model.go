// SPDX-License-Identifier: Apache-2.0

package proxyview

import "net/netip"

// Conn is a connection that arrives at the proxy.
type Conn struct {
	// Socket is the listening address that the kernel gave it to: TPROXY's, or the
	// packet's own destination.
	Socket netip.AddrPort
	// Remote is the client as the proxy sees it, Local where it wanted to go.
	Remote, Local netip.AddrPort
	// Hello is the TLS handshake that the client begins; nil: plain bytes.
	Hello *Hello
	// Tunnel is the CONNECT request that comes through it.
	Tunnel *Tunnel
}

// Hello is what a TLS client shows and wants.
type Hello struct {
	Identity string // of its certificate; "" without one
	ALPN     []string
	SNI      string
	// admits says whether the client takes a server with these names.
	admits func(names []string) bool
}

// Tunnel is a CONNECT request.
type Tunnel struct {
	Authority string
	Headers   [][2]string
}

// header is a header by its lower-case name.
func (t *Tunnel) header(name string) (string, bool) {
	switch name {
	case ":authority":
		return t.Authority, t.Authority != ""
	case ":method":
		return "CONNECT", true
	}
	for _, h := range t.Headers {
		if h[0] == name {
			return h[1], true
		}
	}
	return "", false
}

// Upstream is the connection that the proxy opens.
type Upstream struct {
	Cluster string
	Addr    netip.AddrPort
	// Source and Mark are those of original_src; a zero Source is the proxy's own.
	Source netip.Addr
	Mark   uint32
	Hello  *Hello
	Tunnel *Tunnel
	// Others are the endpoints that could have been chosen as well.
	Others []string
}

// Step is one decision of the proxy.
type Step struct {
	Kind string // "listener", "filterchain", "policy", "cluster", "endpoint", "hbone", "verdict"
	Text string // a sentence
	Why  string
	Name string // of the resource
	Line int    // of the config_dump
	// Failed says that the way ends here, or would have gone on another way.
	Failed bool
}

// End says why the proxy opened no connection.
type End string

// The ends.
const (
	NoListener  End = "no listener"
	NotReady    End = "listener is not in use"
	NoMetadata  End = "workload metadata have not come"
	NoChain     End = "no filter chain"
	BadTLS      End = "TLS"
	Refused     End = "policy"
	NoRoute     End = "no route"
	NoCluster   End = "no cluster"
	NoHost      End = "no endpoint"
	BlackHole   End = "black hole"
	NotModelled End = "not modelled"
)

// Result is what became of a connection.
type Result struct {
	Steps []Step
	// Up is the connection that the proxy opened; nil where End says why not.
	Up  *Upstream
	End End
	// Reason is End in a sentence.
	Reason string
	// Policy is the rule that allowed or refused, "" where none was asked.
	Policy string
	// Identity is the one that the proxy showed to a TLS client.
	Identity string
	// AnswerMark is the mark of what the proxy sends on the arriving connection.
	AnswerMark uint32
	// Listener and Chain are the ones that took the connection from outside the proxy.
	Listener, Chain string
	// Miss says at which level the listener's matcher found nothing: "source",
	// "destination", "port"; "" where every level had an entry.
	Miss string
	// Passthrough: the proxy knows nothing of the target and hands it on plainly.
	Passthrough bool
}
