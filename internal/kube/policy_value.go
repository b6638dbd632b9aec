// SPDX-License-Identifier: Apache-2.0

package kube

import (
	"fmt"
	"net/netip"
	"strconv"
	"strings"

	"k8s.io/apimachinery/pkg/util/validation"
)

// lists reads the lists of one source, operation or condition.
type lists struct {
	*ruleReader
	field string
	any   bool // whether there was any list with entries
}

func (r *ruleReader) listsOf(field string) *lists { return &lists{ruleReader: r, field: field} }

// namespaces are names, with "*" anywhere.
func (l *lists) namespaces(name string, values []string) []string {
	return readAll(l, name, values, func(field, value string) (string, bool) {
		letters := strings.ReplaceAll(value, "*", "x")
		ok := len(validation.IsDNS1123Label(letters)) == 0
		if !ok {
			l.wrong(field, `write one, where * may stand for any part of it`, "%q is no namespace", value)
		}
		return value, ok
	})
}

// patterns are texts, with "*" for what comes before or after them.
func (l *lists) patterns(name string, values []string) []string {
	return readAll(l, name, values, func(field, value string) (string, bool) {
		return value, l.pattern(field, value)
	})
}

func (l *lists) pattern(field, value string) bool {
	if strings.ContainsFunc(value, func(r rune) bool { return r <= ' ' || r > '~' }) {
		l.wrong(field, "write it as it stands in a certificate or a TLS handshake, in plain ASCII", "%q has characters that no name has", value)
		return false
	}
	inside := strings.TrimPrefix(value, "*")
	if inside == value {
		inside = strings.TrimSuffix(value, "*")
	}
	if strings.Contains(inside, "*") {
		l.wrong(field, "write the whole value, or only its beginning or its end", "%q has a * where it is no wildcard", value)
		return false
	}
	return true
}

// principals are identities without their scheme.
func (l *lists) principals(name string, values []string) []string {
	return readAll(l, name, values, func(field, value string) (string, bool) {
		if rest, ok := strings.CutPrefix(value, "spiffe://"); ok {
			l.wrong(field, fmt.Sprintf("write %q", rest), "a principal stands without the scheme spiffe://")
			return "", false
		}
		return value, l.pattern(field, value)
	})
}

// blocks are addresses and ranges of them. IPv6 ones may stand in policies that
// are for other meshes too; nobody here has such an address.
func (l *lists) blocks(name string, values []string) []netip.Prefix {
	return readAll(l, name, values, func(field, value string) (netip.Prefix, bool) {
		block, err := parseBlock(value)
		if err != nil {
			l.wrong(field, "write an address or a range, as in 10.4.3.20 or 10.4.0.0/16", "%q %v", value, err)
		}
		return block, err == nil
	})
}

func parseBlock(text string) (netip.Prefix, error) {
	if !strings.Contains(text, "/") {
		ip, err := netip.ParseAddr(text)
		if err != nil || ip.Zone() != "" {
			return netip.Prefix{}, errNotIP
		}
		return netip.PrefixFrom(ip, ip.BitLen()), nil
	}
	block, err := netip.ParsePrefix(text)
	if err != nil {
		return netip.Prefix{}, errNotRange
	}
	return block, nil
}

func (l *lists) ports(name string, values []string) []uint16 {
	return readAll(l, name, values, func(field, value string) (uint16, bool) {
		port, err := strconv.ParseUint(value, 10, 16)
		ok := err == nil && port > 0
		if !ok {
			l.wrong(field, "write a number from 1 to 65535", "%q is no port", value)
		}
		return uint16(port), ok
	})
}

// request notes a list that only an HTTP request could be held against.
func (l *lists) request(name string, values []string) {
	if len(values) > 0 {
		l.any = true
		l.unusable(l.field + "." + name)
	}
}

// later refuses a list that came into the API after this data path.
func (l *lists) later(name string, values []string, fix string) {
	if len(values) > 0 {
		l.any = true
		l.wrong(l.field+"."+name, fix, "this data path does not know it")
	}
}

// readAll reads a list, which is nil where any of its entries can't be read: with
// the others alone, a rule that denies would let in what it was meant to stop.
func readAll[T any](l *lists, name string, values []string, read func(field, value string) (T, bool)) []T {
	var all []T
	whole := true
	for i, value := range values {
		l.any = true
		field := fmt.Sprintf("%s.%s[%d]", l.field, name, i)
		if value == "" {
			l.wrong(field, "remove it or write a value", "it is empty")
			whole = false
			continue
		}
		v, ok := read(field, value)
		all = append(all, v)
		whole = whole && ok
	}
	if !whole {
		return nil
	}
	return all
}
