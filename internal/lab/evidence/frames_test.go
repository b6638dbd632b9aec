// SPDX-License-Identifier: Apache-2.0

package evidence

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"math/big"
	"net"
	"net/netip"
	"sync"
	"testing"

	"github.com/gopacket/gopacket"
	"github.com/gopacket/gopacket/layers"
)

var (
	ztunnelA = netip.MustParseAddrPort("10.4.4.18:40001")
	podHBONE = netip.MustParseAddrPort("10.4.3.20:15008")
	sleep    = netip.MustParseAddrPort("10.4.4.19:50001")
	vip      = netip.MustParseAddrPort("10.8.14.226:9080")
	nodeA    = netip.MustParseAddr("10.4.4.1")
)

func serialize(t *testing.T, all ...gopacket.SerializableLayer) []byte {
	t.Helper()
	buf := gopacket.NewSerializeBuffer()
	if err := gopacket.SerializeLayers(buf, gopacket.SerializeOptions{FixLengths: true}, all...); err != nil {
		t.Fatal(err)
	}
	return buf.Bytes()
}

func ethernet() *layers.Ethernet {
	return &layers.Ethernet{
		SrcMAC: net.HardwareAddr{2, 0, 0, 0, 0, 1}, DstMAC: net.HardwareAddr{2, 0, 0, 0, 0, 2},
		EthernetType: layers.EthernetTypeIPv4,
	}
}

func ipv4(from, to netip.Addr, protocol layers.IPProtocol) *layers.IPv4 {
	return &layers.IPv4{Version: 4, TTL: 64, Protocol: protocol, SrcIP: from.AsSlice(), DstIP: to.AsSlice()}
}

// tcp is a frame with one segment; seq counts from the SYN's number.
func tcp(t *testing.T, from, to netip.AddrPort, seq uint32, syn bool, data string) []byte {
	t.Helper()
	return serialize(t, ethernet(), ipv4(from.Addr(), to.Addr(), layers.IPProtocolTCP),
		&layers.TCP{SrcPort: layers.TCPPort(from.Port()), DstPort: layers.TCPPort(to.Port()), Seq: 0xfffffff0 + seq, SYN: syn, ACK: !syn},
		gopacket.Payload(data))
}

// conversation is a connection with what each side sends, in pieces.
func conversation(t *testing.T, from, to netip.AddrPort, there, back []byte) [][]byte {
	t.Helper()
	frames := [][]byte{tcp(t, from, to, 0, true, ""), tcp(t, to, from, 0, true, "")}
	const piece = 700
	for at := 0; at < len(there); at += piece {
		frames = append(frames, tcp(t, from, to, uint32(1+at), false, string(there[at:min(at+piece, len(there))])))
	}
	for at := 0; at < len(back); at += piece {
		frames = append(frames, tcp(t, to, from, uint32(1+at), false, string(back[at:min(at+piece, len(back))])))
	}
	return frames
}

// wrapped puts a frame into a tunnel packet.
func wrapped(t *testing.T, kind string, vni uint32, from, to netip.Addr, inner []byte) []byte {
	t.Helper()
	var header gopacket.SerializableLayer
	switch kind {
	case "geneve":
		// The layer can't be written by the library: 8 bytes without options.
		header = gopacket.Payload([]byte{0, 0, 0x65, 0x58, byte(vni >> 16), byte(vni >> 8), byte(vni), 0})
	default:
		header = &layers.VXLAN{ValidIDFlag: true, VNI: vni}
	}
	return serialize(t, ethernet(), ipv4(from, to, layers.IPProtocolUDP),
		&layers.UDP{SrcPort: 33333, DstPort: 6081}, header, gopacket.Payload(inner))
}

// recorder keeps what is written to a connection.
type recorder struct {
	net.Conn
	mu   sync.Mutex
	sent []byte
}

func (r *recorder) Write(p []byte) (int, error) {
	r.mu.Lock()
	r.sent = append(r.sent, p...)
	r.mu.Unlock()
	return r.Conn.Write(p)
}

// tlsBytes has a real TLS client and server talk, and returns what each sent.
func tlsBytes(t *testing.T, version uint16, request, answer string) (there, back []byte) {
	t.Helper()
	a, b := net.Pipe()
	client, server := &recorder{Conn: a}, &recorder{Conn: b}
	done := make(chan error, 1)
	go func() {
		s := tls.Server(server, &tls.Config{
			Certificates: []tls.Certificate{certificate(t)}, NextProtos: []string{"h2"}, MaxVersion: version,
		})
		buf := make([]byte, len(request))
		_, err := s.Read(buf)
		if err == nil {
			_, err = s.Write([]byte(answer))
		}
		done <- err
	}()
	c := tls.Client(client, &tls.Config{InsecureSkipVerify: true, NextProtos: []string{"h2"}, MinVersion: version, MaxVersion: version})
	if _, err := c.Write([]byte(request)); err != nil {
		t.Fatal(err)
	}
	buf := make([]byte, len(answer))
	if _, err := c.Read(buf); err != nil {
		t.Fatal(err)
	}
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	a.Close()
	b.Close()
	return client.sent, server.sent
}

func certificate(t *testing.T) tls.Certificate {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1)}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}
}
