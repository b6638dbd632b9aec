// SPDX-License-Identifier: Apache-2.0

package nodediff

import (
	_ "embed"
	"fmt"
	"html/template"
	"io"
	"strings"

	"github.com/ambient22/ambient22/internal/trace/page"
)

//go:embed page.html.tmpl
var pageText string

//go:embed page.css
var pageStyle string

//go:embed page.js
var pageScript string

// HTML prints reports as one page that needs nothing else, and no script.
func HTML(w io.Writer, reports []*Report) error {
	t, err := template.New("diff").Funcs(template.FuncMap{
		"sign":      func(k Kind) string { s, _ := k.sign(); return s },
		"quiet":     quiet,
		"groups":    groups,
		"strangers": strangers,
		"against":   (*Report).against,
		"counts":    (*Report).countText,
		"verdict":   (*Report).verdict,
	}).Parse(pageText)
	if err != nil {
		return fmt.Errorf("reading the page's template: %w", err)
	}
	var body strings.Builder
	if err := t.Execute(&body, reports); err != nil {
		return fmt.Errorf("filling the page: %w", err)
	}
	return page.Shell(w, page.Frame{
		Title: "Differences", Body: template.HTML(body.String()), Style: pageStyle, Script: pageScript, // the template has escaped it
	})
}

// group is what is found out at one place.
type group struct {
	Heading  string
	Findings []Finding
	Quiet    bool // nothing in it needs a look
}

func groups(r *Report) []group {
	var out []group
	for _, f := range r.Findings {
		if f.Kind == Foreign {
			continue
		}
		h := f.heading()
		if len(out) == 0 || out[len(out)-1].Heading != h {
			out = append(out, group{Heading: h, Quiet: true})
		}
		g := &out[len(out)-1]
		g.Findings = append(g.Findings, f)
		g.Quiet = g.Quiet && quiet(f)
	}
	return out
}

// quiet tells that a finding is shown only to those who ask for everything.
func quiet(f Finding) bool { return f.Kind == Equal || f.Kind == Unshown && f.Note == "" }

func strangers(r *Report) []Finding {
	var out []Finding
	for _, f := range r.Findings {
		if f.Kind == Foreign {
			out = append(out, f)
		}
	}
	return out
}
