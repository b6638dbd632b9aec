// SPDX-License-Identifier: Apache-2.0

package install

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
)

// list is a network configuration list, as text and as far as it matters here.
type list struct {
	text       []byte
	name       string
	cniVersion string
	plugins    []plugin
}

// plugin is one entry of the list.
type plugin struct {
	kind       string
	start, end int // in the text
}

var errNoPlugins = errors.New("it has no list of plugins")

// parseList reads a .conflist.
func parseList(text []byte) (*list, error) {
	head := struct{ Name, CNIVersion string }{}
	if err := json.Unmarshal(text, &head); err != nil {
		return nil, err
	}
	l := &list{text: text, name: head.Name, cniVersion: head.CNIVersion}
	d := json.NewDecoder(bytes.NewReader(text))
	if _, err := d.Token(); err != nil { // the opening brace
		return nil, err
	}
	for d.More() {
		key, err := d.Token()
		if err != nil {
			return nil, err
		}
		if key != "plugins" {
			var skipped json.RawMessage
			if err := d.Decode(&skipped); err != nil {
				return nil, err
			}
			continue
		}
		l.plugins = nil // of two lists the last counts, as for everybody who reads it
		if open, err := d.Token(); err != nil || open != json.Delim('[') {
			return nil, errNoPlugins
		}
		for d.More() {
			var one json.RawMessage
			if err := d.Decode(&one); err != nil {
				return nil, err
			}
			var named struct{ Type string }
			if err := json.Unmarshal(one, &named); err != nil {
				return nil, fmt.Errorf("plugin %d: %w", len(l.plugins), err)
			}
			end := int(d.InputOffset())
			l.plugins = append(l.plugins, plugin{named.Type, end - len(one), end})
		}
		if _, err := d.Token(); err != nil { // the closing bracket
			return nil, err
		}
	}
	if len(l.plugins) == 0 {
		return nil, errNoPlugins
	}
	return l, nil
}

// entries are the places of a plugin in the list.
func (l *list) entries(kind string) (places []int) {
	for i, p := range l.plugins {
		if p.kind == kind {
			places = append(places, i)
		}
	}
	return places
}

// with is the text with one more plugin at the end, set off as the one before it is.
func (l *list) with(entry string) []byte {
	last := l.plugins[len(l.plugins)-1]
	before := last.start
	for before > 0 && isSpace(l.text[before-1]) {
		before--
	}
	addition := "," + string(l.text[before:last.start]) + entry
	return splice(l.text, last.end, last.end, addition)
}

// without is the text without the plugin at that place, and without what set it off.
func (l *list) without(place int) []byte {
	switch {
	case place > 0:
		return splice(l.text, l.plugins[place-1].end, l.plugins[place].end, "")
	case len(l.plugins) > 1:
		return splice(l.text, l.plugins[0].start, l.plugins[1].start, "")
	}
	return splice(l.text, l.plugins[0].start, l.plugins[0].end, "")
}

func splice(text []byte, from, to int, with string) []byte {
	return bytes.Join([][]byte{text[:from], []byte(with), text[to:]}, nil)
}

func isSpace(c byte) bool { return c == ' ' || c == '\t' || c == '\n' || c == '\r' }

// listOf makes a list of a configuration that has one plugin only.
func listOf(conf []byte) ([]byte, error) {
	var head struct {
		Name       string `json:"name"`
		CNIVersion string `json:"cniVersion"`
		Type       string `json:"type"`
	}
	if err := json.Unmarshal(conf, &head); err != nil {
		return nil, err
	}
	if head.Type == "" {
		return nil, errors.New("it names no plugin")
	}
	name, err1 := json.Marshal(head.Name)
	version, err2 := json.Marshal(head.CNIVersion)
	if err := errors.Join(err1, err2); err != nil {
		return nil, err
	}
	return fmt.Appendf(nil, "{\n  \"cniVersion\": %s,\n  \"name\": %s,\n  \"plugins\": [\n%s\n  ]\n}\n", version, name, bytes.TrimSpace(conf)), nil
}
