// SPDX-License-Identifier: Apache-2.0

package hbone

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"io"
	"math/big"
	"net"
	"runtime"
	"sync"
	"testing"
	"time"
)

// BenchmarkThroughput sends through one stream, one op being one Write of the
// size that a proxy's copy loop uses.
func BenchmarkThroughput(b *testing.B) {
	for _, secure := range []bool{false, true} {
		for _, size := range []int{1 << 10, 32 << 10} {
			b.Run(fmt.Sprintf("tls=%v/write=%d", secure, size), func(b *testing.B) {
				p := benchPair(b, secure, func(s *Stream) {
					io.CopyBuffer(struct{ io.Writer }{io.Discard}, struct{ io.Reader }{s}, make([]byte, 64<<10))
					s.CloseWrite()
				})
				s := p.connect(b, "a:1")
				buf := make([]byte, size)
				b.SetBytes(int64(size))
				b.ReportAllocs()
				b.ResetTimer()
				for range b.N {
					if _, err := s.Write(buf); err != nil {
						b.Fatal(err)
					}
				}
				s.CloseWrite()
				<-s.Done()
			})
		}
	}
}

// BenchmarkStreams opens a tunnel, sends a kilobyte through and back, and closes
// it; 50 at a time.
func BenchmarkStreams(b *testing.B) {
	p := benchPair(b, false, echo)
	b.ReportAllocs()
	b.ResetTimer()
	var wg sync.WaitGroup
	jobs := make(chan struct{}, 50)
	for range 50 {
		wg.Go(func() {
			buf := make([]byte, 1<<10)
			for range jobs {
				s, err := p.client.Connect(context.Background(), "10.4.3.20:9080", nil)
				if err != nil {
					b.Error(err)
					return
				}
				s.Write(buf)
				s.CloseWrite()
				io.Copy(io.Discard, s)
			}
		})
	}
	for range b.N {
		jobs <- struct{}{}
	}
	close(jobs)
	wg.Wait()
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "streams/s")
}

func benchPair(b *testing.B, secure bool, tunnel func(*Stream)) *pair {
	if !secure {
		return newPair(b, Config{}, Config{}, accept(b, tunnel))
	}
	x, y := tlsPair(b)
	return pairOn(b, x, y, Config{}, Config{}, accept(b, tunnel))
}

// tlsPair is tcpPair with TLS 1.3 that negotiated h2.
func tlsPair(t testing.TB) (a, b net.Conn) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(time.Hour)}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	x, y := tcpPair(t)
	server := &tls.Config{
		Certificates: []tls.Certificate{{Certificate: [][]byte{der}, PrivateKey: key}},
		NextProtos:   []string{"h2"},
	}
	client := tls.Client(x, &tls.Config{InsecureSkipVerify: true, NextProtos: []string{"h2"}})
	return client, tls.Server(y, server)
}

// BenchmarkIdleStreams tells what a tunnel costs that nothing flows through,
// both ends and the goroutine that serves it included.
func BenchmarkIdleStreams(b *testing.B) {
	release := make(chan struct{})
	many := Config{MaxStreams: 1 << 20}
	p := newPair(b, many, many, idle(b, release))
	defer close(release)
	p.connect(b, "warm:1")
	before := inUse()
	for range b.N {
		p.connect(b, "10.4.3.20:9080")
	}
	b.ReportMetric(float64(inUse()-before)/float64(b.N), "bytes/stream")
}

func inUse() uint64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapInuse + m.StackInuse
}
