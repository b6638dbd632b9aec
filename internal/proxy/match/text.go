// SPDX-License-Identifier: Apache-2.0

package match

import (
	"fmt"
	"regexp"
	"strings"
)

// Text judges a text: a name in a certificate, the value of a header.
type Text func(s string) bool

// Exact takes s itself.
func Exact(s string) Text { return func(have string) bool { return have == s } }

// Prefix takes what begins with s.
func Prefix(s string) Text { return func(have string) bool { return strings.HasPrefix(have, s) } }

// Suffix takes what ends with s.
func Suffix(s string) Text { return func(have string) bool { return strings.HasSuffix(have, s) } }

// Contains takes what has s anywhere in it.
func Contains(s string) Text { return func(have string) bool { return strings.Contains(have, s) } }

// Regexp takes what expr matches from its first byte to its last, as Envoy
// does. Go reads the same language as Envoy's RE2.
func Regexp(expr string) (Text, error) {
	// Alone first: "a)(b" must not become good by the parentheses around it.
	if _, err := regexp.Compile(expr); err != nil {
		return nil, fmt.Errorf("reading regular expression: %w", err)
	}
	re, err := regexp.Compile(`\A(?:` + expr + `)\z`)
	if err != nil {
		return nil, fmt.Errorf("reading regular expression: %w", err)
	}
	return re.MatchString, nil
}

// IgnoreCase is a matcher made with the lower-case form of its text that is to
// take every other form as well.
func IgnoreCase(lower Text) Text {
	return func(have string) bool { return lower(strings.ToLower(have)) }
}

// Header judges a request by one of its headers. The function tells a header's
// value by its lower-case name, and whether the request has it.
type Header func(header func(name string) (value string, ok bool)) bool
