// SPDX-License-Identifier: Apache-2.0

package nodediff

import (
	"encoding/json"
	"fmt"
	"io"
)

// JSON prints reports for programs: one object with the format's version, whether
// anything differs, and a list of reports.
func JSON(w io.Writer, reports []*Report) error {
	type counted struct {
		*Report
		Differs bool         `json:"differs"`
		Counts  map[Kind]int `json:"counts"`
	}
	out := struct {
		Version int       `json:"version"`
		Differs bool      `json:"differs"`
		Reports []counted `json:"reports"`
	}{Version: 1, Reports: []counted{}}
	for _, r := range reports {
		out.Differs = out.Differs || r.Differs()
		out.Reports = append(out.Reports, counted{r, r.Differs(), r.Counts()})
	}
	e := json.NewEncoder(w)
	e.SetIndent("", "  ")
	e.SetEscapeHTML(false)
	if err := e.Encode(out); err != nil {
		return fmt.Errorf("printing the differences: %w", err)
	}
	return nil
}
