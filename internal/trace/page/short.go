// SPDX-License-Identifier: Apache-2.0

package page

import (
	"fmt"

	"github.com/ambient22/ambient22/internal/trace/story"
)

// runLength is how many rules in a row that did not match a page shows; of longer
// runs it shows the first and the last. kube-proxy's chains have thousands.
const runLength = 100

// shorten leaves out the middle of long runs of steps that did not match, and says
// so in their place. keep is a step that stays.
func shorten(stops []story.Stop, keep string) []story.Stop {
	var short []story.Stop
	for i := 0; i < len(stops); {
		n := 0
		for i+n < len(stops) && !stops[i+n].Matched && !stops[i+n].Decisive && stops[i+n].ID != keep {
			n++
		}
		switch {
		case n > runLength:
			half := runLength / 2
			short = append(short, stops[i:i+half]...)
			short = append(short, leftOut(stops[i+half:i+n-half]))
			short = append(short, stops[i+n-half:i+n]...)
			i += n
		case n > 0:
			short = append(short, stops[i:i+n]...)
			i += n
		default:
			short = append(short, stops[i])
			i++
		}
	}
	return short
}

// leftOut is one step in place of many.
func leftOut(stops []story.Stop) story.Stop {
	first := stops[0]
	return story.Stop{ID: first.ID, Place: first.Place, Kind: first.Kind, Mark: first.Mark, Connmark: first.Connmark,
		Text: fmt.Sprintf("%d more steps that did not match, up to %s, are left out of this page; trace --all and --json have them.", len(stops), stops[len(stops)-1].ID)}
}
