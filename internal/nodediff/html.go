// SPDX-License-Identifier: Apache-2.0

package nodediff

import (
	"embed"
	"fmt"
	"html/template"
	"io"
)

//go:embed page.html.tmpl
var pageFile embed.FS

// HTML prints reports as one page that needs nothing else.
func HTML(w io.Writer, reports []*Report) error {
	t, err := template.New("page.html.tmpl").Funcs(template.FuncMap{
		"heading": func(f Finding) string { return f.heading() },
		"sign":    func(k Kind) string { s, _ := k.sign(); return s },
		"shown":   func(f Finding) bool { return f.Kind != Foreign },
		"foreign": func(f Finding) bool { return f.Kind == Foreign },
	}).ParseFS(pageFile, "page.html.tmpl")
	if err != nil {
		return fmt.Errorf("reading the page's template: %w", err)
	}
	if err := t.Execute(w, reports); err != nil {
		return fmt.Errorf("printing the page: %w", err)
	}
	return nil
}
