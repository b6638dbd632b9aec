// SPDX-License-Identifier: Apache-2.0

package lab

import (
	"fmt"
	"io"
	"strings"
	"text/tabwriter"

	"github.com/ambient22/ambient22/internal/lab/listing"
)

// PrintListings prints the table of the listings, then each slip that was
// corrected and each difference.
func PrintListings(w io.Writer, results []listing.Result) error {
	table := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(table, "LISTING\tHOST\tWHAT\tSTATUS")
	for _, r := range results {
		fmt.Fprintf(table, "%02d\t%s\t%s\t%s\n", r.Number, r.Host, clip(r.Title, 64), status(r))
	}
	if err := table.Flush(); err != nil {
		return fmt.Errorf("printing the listings: %w", err)
	}
	fmt.Fprintf(w, "%d of %d reproduced\n", Reproduced(results), len(results))
	for _, r := range results {
		for _, s := range r.Slips {
			fmt.Fprintf(w, "  %02d, a slip in the article: %s instead of %s: %s\n", r.Number, s.Wrong, s.Right, s.Reason)
		}
	}
	for _, r := range results {
		if r.Detail != "" {
			fmt.Fprintf(w, "\nlisting %02d (%s on %s) is not reproduced:\n  %s\n", r.Number, r.Title, r.Host, r.Detail)
		}
	}
	return nil
}

func status(r listing.Result) string {
	s := string(r.Status)
	if r.Status != listing.Reproduced {
		return strings.ToUpper(s)
	}
	if len(r.Slips) > 0 {
		s += ", slip corrected"
	}
	if r.TablesMoved {
		s += ", tables in another order"
	}
	return s
}

func clip(s string, most int) string {
	if len(s) <= most {
		return s
	}
	return s[:most-3] + "..."
}
