// SPDX-License-Identifier: Apache-2.0

package listing

import (
	"errors"
	"fmt"
	"io/fs"
	"path"
	"strings"

	"sigs.k8s.io/yaml"
)

// Listing is one of the article's listings with what is known about it.
type Listing struct {
	Number  int    `json:"number"`
	File    string `json:"file"`              // beside index.yaml
	Host    string `json:"host"`              // the lab host it was taken on
	Command string `json:"command,omitempty"` // what was run there
	Get     string `json:"get,omitempty"`     // or the URL that was read there
	Find    Entry  `json:"find,omitzero"`     // the entry of a config_dump that the listing is
	Whole   bool   `json:"whole,omitempty"`   // the command's whole output, not an excerpt
	Gaps    []Gap  `json:"gaps,omitempty"`

	Text  string `json:"-"` // as in the article
	Slips []Slip `json:"-"` // of this listing
}

// Title is what a person would type to see the listing.
func (l *Listing) Title() string {
	if l.Get != "" {
		return l.Find.Kind + " " + l.Find.Name
	}
	return l.Command
}

// Gap is a place where the article leaves lines out without a mark.
type Gap struct {
	After int    `json:"after"` // line of the listing, from 1
	Why   string `json:"why"`
}

// Slip is a place where the article contradicts itself.
type Slip struct {
	Listing int    `json:"listing"`
	Line    int    `json:"line"` // of the listing, from 1
	Wrong   string `json:"wrong"`
	Right   string `json:"right"`
	Reason  string `json:"reason"`
}

// Newer is an attribute that tools later than the article's print.
type Newer struct {
	Command   string `json:"command"` // what the listing's command starts with
	Attribute string `json:"attribute"`
	Values    int    `json:"values"`             // words that follow the attribute
	Listings  []int  `json:"listings,omitempty"` // only these; none means all
	Since     string `json:"since"`
}

// Set is the listings and the attributes of newer tools.
type Set struct {
	Listings []Listing // by number
	Newer    []Newer
}

// Load reads index.yaml, slips.yaml, newer.yaml and the listings from a folder.
// Every note must fit: a slip that names text the listing does not have is an
// error.
func Load(folder fs.FS) (*Set, error) {
	set := &Set{}
	var slips []Slip
	if err := errors.Join(
		readYAML(folder, "index.yaml", &set.Listings),
		readYAML(folder, "slips.yaml", &slips),
		readYAML(folder, "newer.yaml", &set.Newer),
	); err != nil {
		return nil, err
	}
	for i := range set.Listings {
		l := &set.Listings[i]
		text, err := fs.ReadFile(folder, path.Clean(l.File))
		if err != nil {
			return nil, fmt.Errorf("reading listing %02d: %w", l.Number, err)
		}
		l.Text = string(text)
		for _, s := range slips {
			if s.Listing == l.Number {
				l.Slips = append(l.Slips, s)
			}
		}
		if _, err := l.corrected(); err != nil {
			return nil, err
		}
	}
	return set, nil
}

func readYAML(folder fs.FS, name string, into any) error {
	data, err := fs.ReadFile(folder, name)
	if err != nil {
		return fmt.Errorf("reading the listings' notes: %w", err)
	}
	if err := yaml.UnmarshalStrict(data, into); err != nil {
		return fmt.Errorf("reading %s: %w", name, err)
	}
	return nil
}

// corrected returns the listing's lines with the slips' right values.
func (l *Listing) corrected() ([]string, error) {
	lines := strings.Split(strings.TrimRight(l.Text, "\n"), "\n")
	for _, s := range l.Slips {
		if s.Line < 1 || s.Line > len(lines) {
			return nil, fmt.Errorf("correcting listing %02d: it has no line %d", l.Number, s.Line)
		}
		line := lines[s.Line-1]
		at := strings.LastIndex(line, s.Wrong)
		if at < 0 || strings.Count(line, s.Wrong) != 1 {
			return nil, fmt.Errorf("correcting listing %02d: line %d has %q %d times, not once",
				l.Number, s.Line, s.Wrong, strings.Count(line, s.Wrong))
		}
		lines[s.Line-1] = line[:at] + s.Right + line[at+len(s.Wrong):]
	}
	return lines, nil
}
