// SPDX-License-Identifier: Apache-2.0

package listener

import (
	"crypto/tls"
	"crypto/x509"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/ambient22/ambient22/internal/proxy/config"
	"github.com/ambient22/ambient22/internal/proxy/netio"
	"github.com/ambient22/ambient22/internal/proxy/secret"
)

func TestExpiredCertificateIsNotPresented(t *testing.T) {
	l, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	client, err := net.Dial("tcp4", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	server, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	defer server.Close()

	ref := config.SecretRef{Name: "leaf"}
	entry := secret.NewStore(func(*secret.Entry) func() { return func() {} }).Acquire(ref)
	entry.Set(&secret.Value{Secret: &config.Secret{Name: "leaf", Certificate: &tls.Certificate{
		Leaf: &x509.Certificate{NotAfter: time.Now().Add(-time.Second)},
	}}})
	c := &connection{
		Conn:   netio.TCP{TCPConn: server.(*net.TCPConn)},
		config: &bound{secrets: map[string]*secret.Entry{"leaf": entry}},
	}
	err = c.secure(&config.DownstreamTLS{Certificate: ref})
	if err == nil || !strings.Contains(err.Error(), `certificate "leaf" expired at`) {
		t.Errorf("error %v", err)
	}
}
