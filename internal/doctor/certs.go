// SPDX-License-Identifier: Apache-2.0

package doctor

import (
	"encoding/json"
	"fmt"
	"strings"
	"time"
)

// Certificate is one that the ztunnel uses.
type Certificate struct {
	Identity string // its SPIFFE URI
	CA       bool
	From, To time.Time
}

// ReadCerts reads what the admin address of a ztunnel answers at /certs.
func ReadCerts(text []byte) ([]Certificate, error) {
	type details struct {
		Names []struct {
			URI string `json:"uri"`
		} `json:"subject_alt_names"`
		From time.Time `json:"valid_from"`
		To   time.Time `json:"expiration_time"`
	}
	var all struct {
		Certificates []struct {
			CA    []details `json:"ca_cert"`
			Chain []details `json:"cert_chain"`
		} `json:"certificates"`
	}
	if err := json.Unmarshal(text, &all); err != nil {
		return nil, fmt.Errorf("reading the ztunnel's certificates: %w", err)
	}
	var out []Certificate
	add := func(d details, ca bool) {
		c := Certificate{CA: ca, From: d.From, To: d.To}
		for _, n := range d.Names {
			if n.URI != "" {
				c.Identity = n.URI
				break
			}
		}
		out = append(out, c)
	}
	for _, c := range all.Certificates {
		for _, d := range c.CA {
			add(d, true)
		}
		for i, d := range c.Chain {
			add(d, i > 0) // behind the leaf stand those that signed it
		}
	}
	return out, nil
}

// late tells that a certificate should have been renewed: less than a tenth of its
// time is left.
func (c Certificate) late(now time.Time) bool {
	return c.To.Sub(now) < c.To.Sub(c.From)/10
}

// trouble is what is wrong with a certificate, or "".
func (c Certificate) trouble(now time.Time) string {
	switch {
	case !now.Before(c.To):
		return fmt.Sprintf("expired %s ago, at %s", span(now.Sub(c.To)), stamp(c.To))
	case now.Before(c.From):
		return fmt.Sprintf("is valid from %s only; look at the clocks", stamp(c.From))
	}
	return ""
}

func (c Certificate) label() string {
	if c.CA {
		return "the root " + c.Identity
	}
	return c.Identity
}

func stamp(t time.Time) string { return t.UTC().Format("2006-01-02 15:04:05 UTC") }

// span is a length of time for people: its two largest parts.
func span(d time.Duration) string {
	day := 24 * time.Hour
	switch {
	case d >= 60*day:
		return fmt.Sprintf("%d days", d/day)
	case d >= day:
		return fmt.Sprintf("%dd%dh", d/day, d%day/time.Hour)
	}
	text := d.Truncate(time.Second).String()
	if d >= time.Hour {
		text = strings.TrimSuffix(d.Truncate(time.Minute).String(), "0s")
	}
	return text
}
