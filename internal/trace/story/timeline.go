// SPDX-License-Identifier: Apache-2.0

package story

import (
	"fmt"
	"time"
)

// Moment is one thing that a running kernel did, with its time.
type Moment struct {
	At   time.Time `json:"at"`
	Node string    `json:"node"`
	// Space is "host", "ztunnel" or "NAMESPACE/NAME" of a pod.
	Space string `json:"space"`
	// Heard tells that the kernel noted no time for it, and At is that of the packet
	// it is about.
	Heard bool   `json:"heard,omitempty"`
	Text  string `json:"text"`
}

// timeline prints the moments, counted from the first one.
func (p *printer) timeline(moments []Moment) {
	if len(moments) == 0 {
		return
	}
	p.printf("\n%s\n", p.paint(bold, "When it happened"))
	for _, m := range moments {
		sign := "+"
		if m.Heard {
			sign = "~"
		}
		after := float64(m.At.Sub(moments[0].At).Microseconds()) / 1000
		p.printf("   %s%9.3f ms  %s %s: %s\n", sign, after, short(m.Node), m.Space, fmt.Sprint(m.Text))
	}
}
