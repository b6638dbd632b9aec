// SPDX-License-Identifier: Apache-2.0

package listing

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"
)

// pattern is a JSON listing as the article prints it: JSON in which {...},
// [...] and ... stand for what is left out.
type pattern interface{}

type (
	anyValue  struct{ array bool } // {...} or [...]
	objectPat struct {
		names  []string // in the listing's order, for messages
		fields map[string]pattern
	}
	arrayPat struct {
		elems []pattern
		cut   bool // an excerpt: other elements may stand around these
	}
	scalarPat struct{ text string } // as JSON prints it
)

// parsePattern reads a JSON listing.
func parsePattern(text string) (pattern, error) {
	p := &patternParser{text: text}
	v, err := p.value()
	if err == nil {
		p.blank()
		if p.at < len(p.text) {
			err = errors.New("text after the end")
		}
	}
	if err != nil {
		return nil, fmt.Errorf("reading the listing at line %d: %w", p.line(), err)
	}
	return v, nil
}

type patternParser struct {
	text string
	at   int
}

func (p *patternParser) line() int { return strings.Count(p.text[:p.at], "\n") + 1 }

func (p *patternParser) blank() {
	for p.at < len(p.text) && strings.IndexByte(" \t\r\n", p.text[p.at]) >= 0 {
		p.at++
	}
}

// take consumes s where it stands next.
func (p *patternParser) take(s string) bool {
	p.blank()
	if !strings.HasPrefix(p.text[p.at:], s) {
		return false
	}
	p.at += len(s)
	return true
}

func (p *patternParser) value() (pattern, error) {
	switch {
	case p.take("{...}"):
		return anyValue{}, nil
	case p.take("[...]"):
		return anyValue{array: true}, nil
	case p.take("{"):
		return p.object()
	case p.take("["):
		return p.array()
	}
	return p.scalar()
}

// object reads the members after the opening brace. An ellipsis among them says
// that there are more, which holds for every object anyway.
func (p *patternParser) object() (pattern, error) {
	o := objectPat{fields: map[string]pattern{}}
	for !p.take("}") {
		if p.take("{...}") || p.take("...") {
			p.take(",")
			continue
		}
		name, err := p.quoted()
		if err != nil {
			return nil, err
		}
		if !p.take(":") {
			return nil, fmt.Errorf("no colon after field %q", name)
		}
		v, err := p.value()
		if err != nil {
			return nil, err
		}
		if _, twice := o.fields[name]; twice {
			return nil, fmt.Errorf("field %q stands twice", name)
		}
		o.names = append(o.names, name)
		o.fields[name] = v
		if !p.take(",") && !p.next('}') {
			return nil, fmt.Errorf("no comma after field %q", name)
		}
	}
	return o, nil
}

// array reads the elements after the opening bracket. Next to an ellipsis an
// empty object is an element whose fields are left out.
func (p *patternParser) array() (pattern, error) {
	a := arrayPat{}
	for !p.take("]") {
		if p.take("...") {
			a.cut = true
		} else {
			v, err := p.value()
			if err != nil {
				return nil, err
			}
			if _, omitted := v.(anyValue); omitted {
				a.cut = true
			}
			a.elems = append(a.elems, v)
		}
		if !p.take(",") && !p.next(']') {
			return nil, errors.New("no comma between elements")
		}
	}
	if a.cut {
		a.elems = shown(a.elems)
	}
	return a, nil
}

// shown drops the elements that show nothing.
func shown(elems []pattern) []pattern {
	var kept []pattern
	for _, e := range elems {
		if o, ok := e.(objectPat); ok && len(o.fields) == 0 {
			continue
		}
		if _, ok := e.(anyValue); ok {
			continue
		}
		kept = append(kept, e)
	}
	return kept
}

func (p *patternParser) next(c byte) bool {
	p.blank()
	return p.at < len(p.text) && p.text[p.at] == c
}

func (p *patternParser) quoted() (string, error) {
	p.blank()
	end := p.at
	if end >= len(p.text) || p.text[end] != '"' {
		return "", errors.New("no field name")
	}
	for end++; end < len(p.text) && p.text[end] != '"'; end++ {
		if p.text[end] == '\\' {
			end++
		}
	}
	if end >= len(p.text) {
		return "", errors.New("string without end")
	}
	var s string
	if err := json.Unmarshal([]byte(p.text[p.at:end+1]), &s); err != nil {
		return "", err
	}
	p.at = end + 1
	return s, nil
}

func (p *patternParser) scalar() (pattern, error) {
	if p.next('"') {
		s, err := p.quoted()
		if err != nil {
			return nil, err
		}
		return scalarPat{text: printed(s)}, nil
	}
	end := p.at
	for end < len(p.text) && strings.IndexByte(" \t\r\n,]}", p.text[end]) < 0 {
		end++
	}
	word := p.text[p.at:end]
	if !json.Valid([]byte(word)) || word == "" {
		return nil, fmt.Errorf("no value: %q", word)
	}
	p.at = end
	return scalarPat{text: word}, nil
}

func printed(v any) string {
	data, err := json.Marshal(v)
	if err != nil {
		return fmt.Sprint(v)
	}
	return string(data)
}
