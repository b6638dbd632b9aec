// SPDX-License-Identifier: Apache-2.0

package xds

import (
	"cmp"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	statuspb "google.golang.org/genproto/googleapis/rpc/status"
)

// ProxyStatus is one open stream: who is at its other end, and how far it is.
type ProxyStatus struct {
	Stream    uint64    `json:"stream"`   // counts up from 1 over the server's life
	Node      string    `json:"node"`     // the proxy's node id; empty until its first request
	Service   string    `json:"service"`  // "ADS" or "SDS"
	Protocol  string    `json:"protocol"` // "delta" or "state of the world"
	Peer      Peer      `json:"peer"`
	Connected time.Time `json:"connected"`
	// Types are those the proxy subscribed to, sorted by type URL.
	Types []TypeStatus `json:"types"`
	// RefusedSecrets are the latest names it asked for and may not have.
	RefusedSecrets []string `json:"refused_secrets,omitempty"`
}

// TypeStatus is a proxy's state in one resource type.
type TypeStatus struct {
	Type       string    `json:"type"` // type URL
	Wildcard   bool      `json:"wildcard"`
	Names      int       `json:"names"`       // subscribed to by name
	Sent       string    `json:"sent"`        // version of the latest response
	SentAt     time.Time `json:"sent_at"`     // zero before the first
	Accepted   string    `json:"accepted"`    // version of the latest response that was ACKed
	AcceptedAt time.Time `json:"accepted_at"` // zero before the first
	Unanswered int       `json:"unanswered"`  // responses that were neither ACKed nor NACKed yet
	// Rejected are the resources the proxy refused and has not accepted since,
	// the first hundred by name. Where its message names none, any of the
	// response's may be meant, and all are listed.
	Rejected []string `json:"rejected,omitempty"`
	NACKs    uint64   `json:"nacks"`
	LastNACK *NACK    `json:"last_nack,omitempty"`
}

// NACK is one rejection in the proxy's own words.
type NACK struct {
	At      time.Time `json:"at"`
	Version string    `json:"version"` // of the response it rejects
	Code    int32     `json:"code"`    // gRPC's status code
	Message string    `json:"message"`
	// Resources are those the message names, as far as that can be told.
	Resources []string `json:"resources,omitempty"`
}

// Status describes every open stream, in the order they were opened.
func (s *Server) Status() []ProxyStatus {
	s.mu.Lock()
	open := slices.Collect(maps.Keys(s.streams))
	s.mu.Unlock()
	list := make([]ProxyStatus, 0, len(open))
	for _, stream := range open {
		list = append(list, stream.record.copy())
	}
	slices.SortFunc(list, func(a, b ProxyStatus) int { return cmp.Compare(a.Stream, b.Stream) })
	return list
}

// record is the part of a stream that others may read: its goroutine writes it,
// Status copies it.
type record struct {
	mu     sync.Mutex
	status ProxyStatus
	types  [kinds]*TypeStatus

	whole   *snapshot           // the latest of which it accepted everything
	secrets map[string]struct{} // that it accepted
}

// latestRefused bounds ProxyStatus.RefusedSecrets.
const latestRefused = 20

// maxRejected bounds TypeStatus.Rejected.
const maxRejected = 100

func (r *record) copy() ProxyStatus {
	r.mu.Lock()
	defer r.mu.Unlock()
	c := r.status
	c.RefusedSecrets = slices.Clone(c.RefusedSecrets)
	c.Types = []TypeStatus{}
	for _, t := range r.types {
		if t != nil {
			c.Types = append(c.Types, *t)
		}
	}
	slices.SortFunc(c.Types, func(a, b TypeStatus) int { return strings.Compare(a.Type, b.Type) })
	return c
}

func (r *record) named(node string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.status.Node = node
}

func (r *record) refused(name string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	list := append(r.status.RefusedSecrets, name)
	r.status.RefusedSecrets = list[max(0, len(list)-latestRefused):]
}

// of is the record of a kind; the caller holds mu.
func (r *record) of(k kind) *TypeStatus {
	if r.types[k] == nil {
		r.types[k] = &TypeStatus{Type: k.typeURL()}
	}
	return r.types[k]
}

// subscribed notes what the proxy is subscribed to.
func (r *record) subscribed(subs *[kinds]*subscription) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for k, sub := range subs {
		if sub == nil {
			continue
		}
		t := r.of(kind(k))
		t.Wildcard, t.Names, t.Unanswered = sub.wildcard, len(sub.names), len(sub.unanswered)
	}
}

func (r *record) pushed(sub *subscription, s sent) {
	r.mu.Lock()
	defer r.mu.Unlock()
	t := r.of(sub.kind)
	t.Sent, t.SentAt = s.version, s.at
}

func (r *record) accepted(sub *subscription, s sent) {
	r.mu.Lock()
	defer r.mu.Unlock()
	t := r.of(sub.kind)
	t.Accepted, t.AcceptedAt = s.version, time.Now()
	if sub.kind == secrets {
		r.holds(s)
	}
	t.Rejected = someNames(sub.rejected)
}

func (r *record) rejected(sub *subscription, s sent, names []string, reason *statuspb.Status) {
	r.mu.Lock()
	defer r.mu.Unlock()
	t := r.of(sub.kind)
	t.NACKs++
	t.LastNACK = &NACK{
		At: time.Now(), Version: s.version,
		Code: reason.GetCode(), Message: reason.GetMessage(), Resources: names,
	}
	t.Rejected = someNames(sub.rejected)
}

// someNames are the first names of a set that may be very large.
func someNames(set map[string]struct{}) []string {
	names := slices.Sorted(maps.Keys(set))
	return slices.Clone(names[:min(len(names), maxRejected)])
}

// maxCulprits bounds how many names are taken from one message.
const maxCulprits = 20

// culprits are the resources that a NACK's message names. A response of one
// resource leaves no doubt.
func culprits(message string, names []string) []string {
	if len(names) == 1 {
		return names
	}
	var named []string
	for _, name := range names {
		if mentions(message, name) {
			named = append(named, name)
		}
		if len(named) == maxCulprits {
			break
		}
	}
	return named
}

// mentions reports whether a name stands in a message as a word of its own, and
// not as a part of a longer name.
func mentions(message, name string) bool {
	for from := 0; ; {
		i := strings.Index(message[from:], name)
		if i < 0 {
			return false
		}
		start, end := from+i, from+i+len(name)
		if boundary(message[:start], true) && boundary(message[end:], false) {
			return true
		}
		from = start + 1
	}
}

// boundary reports whether a name can end where the text beside it is rest.
func boundary(rest string, before bool) bool {
	const separators = " \t\n'\"`()[]<>,;="
	if rest == "" {
		return true
	}
	if before {
		return strings.IndexByte(separators, rest[len(rest)-1]) >= 0
	}
	// Names have dots and colons inside, so these end one only before a space.
	rest = strings.TrimLeft(rest, ".:")
	return rest == "" || strings.IndexByte(separators, rest[0]) >= 0
}
