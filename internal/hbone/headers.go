// SPDX-License-Identifier: Apache-2.0

package hbone

import (
	"errors"
	"fmt"
	"strconv"
	"strings"

	"golang.org/x/net/http/httpguts"
	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"
)

// checkFields refuses the header fields of one HTTP/1 connection, which make a
// message malformed (RFC 9113 section 8.2.2).
func checkFields(fields []hpack.HeaderField) error {
	for _, f := range fields {
		switch f.Name {
		case "connection", "proxy-connection", "keep-alive", "transfer-encoding", "upgrade":
			return fmt.Errorf("header field %q", f.Name)
		case "te":
			if !strings.EqualFold(f.Value, "trailers") {
				return fmt.Errorf("te: %s", f.Value)
			}
		}
	}
	return nil
}

// checkOutgoing refuses a header that the peer would have to treat as malformed.
func checkOutgoing(fields []hpack.HeaderField) error {
	for _, f := range fields {
		if !httpguts.ValidHeaderFieldName(f.Name) || strings.ToLower(f.Name) != f.Name {
			return fmt.Errorf("invalid header field name %q", f.Name)
		}
		if !httpguts.ValidHeaderFieldValue(f.Value) {
			return fmt.Errorf("invalid value of header field %q", f.Name)
		}
	}
	return checkFields(fields)
}

// checkRequest checks the pseudo-header fields. CONNECT has neither scheme nor
// path (RFC 9113 section 8.5), unless :protocol makes it an extended one
// (RFC 8441 section 4).
func checkRequest(f *http2.MetaHeadersFrame) error {
	method, authority := f.PseudoValue("method"), f.PseudoValue("authority")
	scheme, path := f.PseudoValue("scheme"), f.PseudoValue("path")
	protocol := f.PseudoValue("protocol")
	switch {
	case method == "":
		return errors.New("no :method")
	case f.PseudoValue("status") != "":
		return errors.New(":status in a request")
	case method != "CONNECT" && protocol != "":
		return errors.New(":protocol without CONNECT")
	case method == "CONNECT" && authority == "":
		return errors.New("CONNECT without :authority")
	case method == "CONNECT" && protocol == "" && hasPseudo(f, ":scheme", ":path"):
		return errors.New("CONNECT with :scheme or :path")
	case (method != "CONNECT" || protocol != "") && (scheme == "" || path == ""):
		return errors.New("no :scheme or :path")
	}
	return checkFields(f.RegularFields())
}

func hasPseudo(f *http2.MetaHeadersFrame, names ...string) bool {
	for _, p := range f.PseudoFields() {
		for _, name := range names {
			if p.Name == name {
				return true
			}
		}
	}
	return false
}

// parseStatus reads a response's status and checks its fields.
func parseStatus(f *http2.MetaHeadersFrame) (int, error) {
	text := f.PseudoValue("status")
	if len(f.PseudoFields()) != 1 || len(text) != 3 {
		return 0, errors.New("a response has :status and no other pseudo-header field")
	}
	status, err := strconv.Atoi(text)
	if err != nil || status < 100 || status == 101 {
		return 0, fmt.Errorf("invalid :status %q", text)
	}
	return status, checkFields(f.RegularFields())
}

// onTrailers takes HEADERS after DATA. A tunnel has no use for trailers, they
// only end its direction.
func (c *conn) onTrailers(s *Stream, f *http2.MetaHeadersFrame) error {
	c.mu.Lock()
	ended := s.recvEnd
	c.mu.Unlock()
	switch {
	case ended:
		return streamError(s.id, http2.ErrCodeStreamClosed, "HEADERS after END_STREAM")
	case !f.StreamEnded():
		return streamError(s.id, http2.ErrCodeProtocol, "trailers without END_STREAM")
	case len(f.PseudoFields()) > 0:
		return streamError(s.id, http2.ErrCodeProtocol, "pseudo-header field in trailers")
	}
	s.peerEnded()
	return nil
}

// headerBytes is the size that SETTINGS_MAX_HEADER_LIST_SIZE limits.
func headerBytes(fields []hpack.HeaderField) uint64 {
	var n uint64
	for _, f := range fields {
		n += uint64(f.Size())
	}
	return n
}
