// SPDX-License-Identifier: Apache-2.0

package page

import (
	"fmt"
	"strings"
	"time"

	"github.com/ambient22/ambient22/internal/trace/story"
)

// moment is one thing that a running kernel did.
type moment struct {
	After string // since the first one; with ~ where the kernel noted no time
	Where string
	Text  string
}

// lookAtTimes counts the moments from the first one, as the text does.
func (v *view) lookAtTimes(all []story.Moment) {
	if len(all) == 0 {
		return
	}
	first := all[0].At
	v.Began = first.UTC().Format("2006-01-02 15:04:05.000 MST")
	v.Took = milliseconds(all[len(all)-1].At.Sub(first), 0)
	for _, m := range all {
		sign := "+"
		if m.Heard {
			sign = "~"
		}
		const width = 8 // a call that takes ten seconds
		v.Timeline = append(v.Timeline, moment{
			After: sign + milliseconds(m.At.Sub(first), width),
			Where: strings.TrimSpace(m.Node + " " + m.Space), Text: m.Text,
		})
	}
}

func milliseconds(d time.Duration, width int) string {
	return fmt.Sprintf("%*.3f ms", width, float64(d.Microseconds())/1000)
}
