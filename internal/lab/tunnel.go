// SPDX-License-Identifier: Apache-2.0

package lab

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strconv"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"

	"github.com/ambient22/ambient22/internal/ca"
	"github.com/ambient22/ambient22/internal/hbone"
	"github.com/ambient22/ambient22/internal/lab/netns"
	"github.com/ambient22/ambient22/internal/mesh"
)

// targetHeader names the address that a tunnel is to lead to, beside :authority.
const targetHeader = "x-envoy-original-dst-host"

// credentials is TLS as a ztunnel speaks it: a certificate of the mesh's CA for an
// identity, none for "", and the other end's must be of the same CA.
func (l *Lab) credentials(identity string) (*tls.Config, error) {
	authority, err := ca.Open(l.caDir(), ca.Options{TrustDomain: mesh.DefaultTrustDomain})
	if err != nil {
		return nil, err
	}
	roots := x509.NewCertPool()
	if !roots.AppendCertsFromPEM(authority.Roots()) {
		return nil, errors.New("reading the mesh's root certificates: there are none")
	}
	config := &tls.Config{
		MinVersion: tls.VersionTLS13, NextProtos: []string{http2.NextProtoTLS},
		ClientCAs: roots, ClientAuth: tls.RequireAndVerifyClientCert,
		// A workload's certificate names no host: what is checked instead is below.
		InsecureSkipVerify: true,
		VerifyConnection: func(state tls.ConnectionState) error {
			_, err := state.PeerCertificates[0].Verify(x509.VerifyOptions{Roots: roots, KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageAny}})
			return err
		},
	}
	if identity == "" {
		return config, nil
	}
	chain, key, err := authority.Certificate(identity)
	if err != nil {
		return nil, err
	}
	certificate, err := tls.X509KeyPair(chain, key)
	if err != nil {
		return nil, fmt.Errorf("reading the certificate of %s: %w", identity, err)
	}
	config.Certificates = []tls.Certificate{certificate}
	return config, nil
}

// Connect opens a tunnel from a host that is not captured, straight to port 15008
// of a pod, and asks for an address. It returns the answer's status; an error says
// that there was none. The tunnel is closed again.
func (l *Lab) Connect(ctx context.Context, host, identity string, pod netip.Addr, target netip.AddrPort) (int, error) {
	ctx, cancel := context.WithTimeout(ctx, l.Timeout)
	defer cancel()
	client, err := l.tunnels(ctx, host, identity, pod)
	if err != nil {
		return 0, err
	}
	defer client.Close()
	stream, err := client.Connect(ctx, target.String(), []hpack.HeaderField{{Name: targetHeader, Value: target.String()}})
	var status *hbone.StatusError
	if errors.As(err, &status) {
		return status.Status, nil
	}
	if err != nil {
		return 0, fmt.Errorf("opening a tunnel from %s to %s: %w", host, target, err)
	}
	defer stream.Close()
	return stream.Status(), nil
}

// tunnels is a connection for tunnels to a pod. Closing the client closes it.
func (l *Lab) tunnels(ctx context.Context, host, identity string, pod netip.Addr) (*hbone.Client, error) {
	config, err := l.credentials(identity)
	if err != nil {
		return nil, err
	}
	conn, err := l.dial(ctx, host, net.JoinHostPort(pod.String(), strconv.Itoa(hbonePort)))
	if err != nil {
		return nil, err
	}
	secure := tls.Client(conn, config)
	if err := secure.HandshakeContext(ctx); err != nil {
		conn.Close()
		return nil, fmt.Errorf("connecting from %s to %s for tunnels: %w", host, pod, err)
	}
	client, err := hbone.NewClient(secure, hbone.Config{})
	if err != nil {
		secure.Close()
		return nil, fmt.Errorf("connecting from %s to %s for tunnels: %w", host, pod, err)
	}
	return client, nil
}

// dial connects from inside a host.
func (l *Lab) dial(ctx context.Context, host, addr string) (conn net.Conn, err error) {
	err = netns.Do(l.Net.Namespace(host), func() error {
		conn, err = (&net.Dialer{}).DialContext(ctx, "tcp4", addr)
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("connecting from %s: %w", host, err)
	}
	return conn, nil
}
