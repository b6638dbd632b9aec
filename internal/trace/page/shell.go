// SPDX-License-Identifier: Apache-2.0

package page

import (
	"crypto/sha256"
	_ "embed"
	"encoding/base64"
	"fmt"
	"html/template"
	"io"
)

// Style is the style sheet that all pages share: colours for light and dark, type,
// buttons, code. It knows the classes quiet, bad, good and warn.
//
//go:embed style.css
var Style string

//go:embed shell.html.tmpl
var shellText string

// Frame is what a page puts around its content.
type Frame struct {
	Title string
	// Body is the content of the page, its landmarks (header, main) included.
	Body template.HTML
	// Style and Script are the page's own, besides what all pages share. A page
	// should say what it has to say without its script, too.
	Style  string
	Script string
}

// Shell writes a whole page.
func Shell(w io.Writer, f Frame) error {
	t, err := template.New("shell").Parse(shellText)
	if err != nil {
		return fmt.Errorf("reading the page's frame: %w", err)
	}
	css := Style + f.Style
	err = t.Execute(w, struct {
		Title, Policy string
		Style         template.CSS
		Script        template.JS
		Body          template.HTML
	}{f.Title, policy(css, f.Script), template.CSS(css), template.JS(f.Script), f.Body})
	if err != nil {
		return fmt.Errorf("writing the page: %w", err)
	}
	return nil
}

// policy allows exactly this style sheet and this script.
func policy(style, script string) string {
	p := "default-src 'none'; base-uri 'none'; form-action 'none'; style-src " + digest(style)
	if script != "" {
		p += "; script-src " + digest(script)
	}
	return p
}

func digest(s string) string {
	sum := sha256.Sum256([]byte(s))
	return "'sha256-" + base64.StdEncoding.EncodeToString(sum[:]) + "'"
}
