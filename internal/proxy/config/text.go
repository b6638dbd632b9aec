// SPDX-License-Identifier: Apache-2.0

package config

import (
	"errors"
	"strings"

	routev3 "github.com/envoyproxy/go-control-plane/envoy/config/route/v3"
	typematcherv3 "github.com/envoyproxy/go-control-plane/envoy/type/matcher/v3"

	"github.com/ambient22/ambient22/internal/proxy/match"
)

// text decodes a string matcher.
func text(m *typematcherv3.StringMatcher) (match.Text, error) {
	fold := strings.Clone
	if m.GetIgnoreCase() {
		fold = strings.ToLower
	}
	var t match.Text
	switch p := m.GetMatchPattern().(type) {
	case *typematcherv3.StringMatcher_Exact:
		t = match.Exact(fold(p.Exact))
	case *typematcherv3.StringMatcher_Prefix:
		t = match.Prefix(fold(p.Prefix))
	case *typematcherv3.StringMatcher_Suffix:
		t = match.Suffix(fold(p.Suffix))
	case *typematcherv3.StringMatcher_Contains:
		t = match.Contains(fold(p.Contains))
	case *typematcherv3.StringMatcher_SafeRegex:
		if m.GetIgnoreCase() {
			return nil, errors.New("ignore_case: has no effect on a regular expression")
		}
		re, err := match.Regexp(p.SafeRegex.GetRegex())
		if err != nil {
			return nil, in(err, "safe_regex.regex")
		}
		return re, nil
	default:
		return nil, errors.New("match_pattern: is missing")
	}
	if m.GetIgnoreCase() {
		return match.IgnoreCase(t), nil
	}
	return t, nil
}

// header decodes a header matcher. A header that is not there fits only where
// its absence was asked for, and inverting does not change that; as in Envoy.
func header(m *routev3.HeaderMatcher) (match.Header, error) {
	name := strings.ToLower(m.GetName())
	judge, absent := match.Text(nil), false
	switch p := m.GetHeaderMatchSpecifier().(type) {
	case *routev3.HeaderMatcher_StringMatch:
		t, err := text(p.StringMatch)
		if err != nil {
			return nil, in(err, "string_match")
		}
		judge = t
	case *routev3.HeaderMatcher_PresentMatch:
		judge = func(string) bool { return p.PresentMatch }
		absent = p.PresentMatch == m.GetInvertMatch()
	default:
		return nil, errors.New("header_match_specifier: is missing")
	}
	invert, asEmpty := m.GetInvertMatch(), m.GetTreatMissingHeaderAsEmpty()
	return func(header func(string) (string, bool)) bool {
		value, ok := header(name)
		if !ok && !asEmpty {
			return absent
		}
		return judge(value) != invert
	}, nil
}

// headers decodes matchers that must all fit.
func headers(list []*routev3.HeaderMatcher) ([]match.Header, error) {
	var out []match.Header
	for i, m := range list {
		h, err := header(m)
		if err != nil {
			return nil, in(err, "headers[%d]", i)
		}
		out = append(out, h)
	}
	return out, nil
}
