// SPDX-License-Identifier: Apache-2.0

package evidence

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
)

// TLS record and handshake types, extensions and versions (RFC 8446, sections
// 4, 4.2 and 5.1; ALPN: RFC 7301).
const (
	recordChangeCipherSpec = 20
	recordAlert            = 21
	recordHandshake        = 22
	recordApplicationData  = 23

	helloClient = 1
	helloServer = 2

	extensionServerName = 0
	extensionALPN       = 16
	extensionVersions   = 43

	// VersionTLS13 is TLS 1.3's number on the wire.
	VersionTLS13 = 0x0304

	recordHeader  = 5
	longestRecord = 1<<14 + 256
)

var errNotTLS = errors.New("not TLS")

// Hello is what one side of a TLS connection says openly.
type Hello struct {
	Versions  []uint16 `json:"versions"` // offered, or the one chosen
	ALPN      []string `json:"alpn,omitempty"`
	Names     bool     `json:"server_name"` // a server name is sent
	Encrypted int      `json:"encrypted_records"`
}

// parseTLS reads a whole direction of a connection as TLS records: the hello,
// and after it nothing but encrypted records. (TLS 1.3 sends a lone change
// cipher spec for the sake of middleboxes.)
func parseTLS(data []byte) (*Hello, error) {
	var h *Hello
	for len(data) > 0 {
		if len(data) < recordHeader {
			break // the capture ended inside a record
		}
		kind, length := data[0], int(binary.BigEndian.Uint16(data[3:5]))
		if data[1] != 3 || length > longestRecord {
			return nil, errNotTLS
		}
		body := data[recordHeader:min(recordHeader+length, len(data))]
		data = data[min(recordHeader+length, len(data)):]
		switch {
		case h == nil:
			if kind != recordHandshake {
				return nil, fmt.Errorf("%w: the first record has type %d", errNotTLS, kind)
			}
			var err error
			if h, err = parseHello(body); err != nil {
				return nil, err
			}
		case kind == recordApplicationData:
			h.Encrypted++
		case kind == recordChangeCipherSpec && length == 1 && bytes.HasPrefix([]byte{1}, body):
		default:
			return nil, fmt.Errorf("an open record of type %d after the hello", kind)
		}
	}
	if h == nil {
		return nil, fmt.Errorf("%w: no bytes", errNotTLS)
	}
	return h, nil
}

// parseHello reads a ClientHello or ServerHello.
func parseHello(body []byte) (*Hello, error) {
	r := &reader{data: body}
	kind := r.number(1)
	r = &reader{data: r.bytes(r.number(3))}
	r.number(2) // legacy_version
	r.bytes(32) // random
	r.bytes(r.number(1))
	switch kind {
	case helloClient:
		r.bytes(r.number(2)) // cipher suites
		r.bytes(r.number(1)) // compression methods
	case helloServer:
		r.bytes(2 + 1) // the suite and the method chosen
	default:
		return nil, fmt.Errorf("%w: handshake message %d before a hello", errNotTLS, kind)
	}
	h := &Hello{}
	extensions := &reader{data: r.bytes(r.number(2))}
	for len(extensions.data) > 0 && !extensions.short {
		id := extensions.number(2)
		h.extension(id, &reader{data: extensions.bytes(extensions.number(2))}, kind)
	}
	if r.short || extensions.short {
		return nil, fmt.Errorf("%w: a hello that is cut short", errNotTLS)
	}
	return h, nil
}

func (h *Hello) extension(id int, r *reader, kind int) {
	switch {
	case id == extensionServerName:
		h.Names = true
	case id == extensionVersions && kind == helloServer:
		h.Versions = []uint16{uint16(r.number(2))}
	case id == extensionVersions:
		r.number(1)
		for len(r.data) >= 2 {
			h.Versions = append(h.Versions, uint16(r.number(2)))
		}
	case id == extensionALPN:
		r.number(2)
		for len(r.data) > 0 && !r.short {
			h.ALPN = append(h.ALPN, string(r.bytes(r.number(1))))
		}
	}
}

// reader takes numbers and bytes off a message; short says that there were too
// few.
type reader struct {
	data  []byte
	short bool
}

func (r *reader) bytes(n int) []byte {
	if n > len(r.data) {
		r.short = true
		n = len(r.data)
	}
	b := r.data[:n]
	r.data = r.data[n:]
	return b
}

func (r *reader) number(size int) int {
	n := 0
	for _, b := range r.bytes(size) {
		n = n<<8 | int(b)
	}
	return n
}
