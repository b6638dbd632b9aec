// SPDX-License-Identifier: Apache-2.0

package sysctl

import (
	"strings"

	"github.com/ambient22/ambient22/internal/dump/syntax"
)

// Setting is one line "net.ipv4.ip_forward = 1".
type Setting struct {
	Key   string // with dots; a dot in a device's name is "/" ("net.ipv4.conf.eth0/5.rp_filter")
	Value string
	Line  int

	kept *syntax.Kept
}

// Parse reads the output of sysctl. Lines in which sysctl says what it could not
// read are kept and passed by. file names the text in errors, which are of type
// *syntax.Error.
func Parse(file, text string) ([]Setting, error) {
	var all []Setting
	r := syntax.NewReader(file, text)
	before := 0
	for {
		l, ok := r.Next()
		if !ok {
			break
		}
		if complaint(l) {
			continue
		}
		s, err := parseSetting(l)
		if err != nil {
			return nil, err
		}
		s.kept = syntax.Keep(text[before:l.Start], text[l.Start:l.End], r.Tail(complaint), s.String()+"\n")
		before = l.End
		all = append(all, s)
	}
	return all, nil
}

func parseSetting(l syntax.Line) (Setting, error) {
	key, value, ok := strings.Cut(l.Text, "=")
	if !ok {
		return Setting{}, l.Errorf(len(l.Text), "\"=\" and a value are expected")
	}
	key = strings.Trim(key, " \t\r")
	if key == "" || strings.ContainsAny(key, " \t\r") {
		return Setting{}, l.Errorf(0, "%q is no sysctl's name", key)
	}
	return Setting{Key: key, Value: strings.Trim(value, " \t\r"), Line: l.Number}, nil
}

// complaint tells that a line is not a setting: it is blank, or an error that was
// printed among them.
func complaint(l syntax.Line) bool {
	return l.Blank() || strings.HasPrefix(l.Text, "sysctl: ")
}

// Map is the settings by their keys; the last one counts.
func Map(all []Setting) map[string]string {
	m := make(map[string]string, len(all))
	for _, s := range all {
		m[s.Key] = s.Value
	}
	return m
}

// String is the setting as sysctl prints it, without the line's end.
func (s *Setting) String() string { return s.Key + " = " + s.Value }

// Print is the text that was parsed; a setting that has been changed since is
// printed as sysctl prints it.
func Print(all []Setting) string {
	var b strings.Builder
	for i := range all {
		all[i].kept.Write(&b, all[i].String()+"\n")
	}
	return b.String()
}
