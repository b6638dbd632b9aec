// SPDX-License-Identifier: Apache-2.0

package evidence

import (
	"crypto/tls"
	"testing"
)

// Captured bytes may be anything: reading them must end, and only real TLS
// records may pass.
func FuzzParseTLS(f *testing.F) {
	f.Add([]byte(request))
	f.Add([]byte{22, 3, 1, 0, 4, 1, 0, 0, 0})
	f.Fuzz(func(t *testing.T, data []byte) {
		h, err := parseTLS(data)
		if err == nil && (h == nil || data[0] != recordHandshake) {
			t.Errorf("%x passes as TLS: %+v", data, h)
		}
	})
}

// Frames may be anything, too.
func FuzzFrames(f *testing.F) {
	f.Add([]byte{})
	f.Fuzz(func(_ *testing.T, frame []byte) {
		frames := [][]byte{frame}
		ReadWire(frames, 15008, []string{request})
		Tunnels(frames, "geneve", 6081)
		Tunnels(frames, "vxlan", 6081)
	})
}

// A capture may end anywhere: what it has of a hello is no hello.
func TestTLSCutShort(t *testing.T) {
	there, _ := tlsBytes(t, tls.VersionTLS13, request, answer)
	hello := recordHeader + (int(there[3])<<8 | int(there[4]))
	for n := range there {
		h, err := parseTLS(there[:n])
		if whole := n >= hello; whole != (err == nil) || whole != (h != nil) {
			t.Fatalf("%d of %d bytes: got %+v, %v", n, len(there), h, err)
		}
	}
}
