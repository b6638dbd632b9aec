// SPDX-License-Identifier: Apache-2.0

package envoyconfig

import (
	"bytes"
	"encoding/json"
	"fmt"

	"google.golang.org/protobuf/encoding/protojson"
)

// Render writes resources as a JSON list in the form of a config_dump: field names
// in snake_case, every Any spelled out, keys sorted. The same resources always
// give the same text.
func Render(resources []*Resource) ([]byte, error) {
	list := make([]json.RawMessage, 0, len(resources))
	for _, r := range resources {
		m, err := r.Message()
		if err != nil {
			return nil, fmt.Errorf("rendering %q: %w", r.Name, err)
		}
		body, err := protojson.MarshalOptions{UseProtoNames: true}.Marshal(m)
		if err != nil {
			return nil, fmt.Errorf("rendering %q: %w", r.Name, err)
		}
		body, err = normalise(body)
		if err != nil {
			return nil, fmt.Errorf("rendering %q: %w", r.Name, err)
		}
		list = append(list, body)
	}
	text, err := indent(list)
	if err != nil {
		return nil, fmt.Errorf("rendering: %w", err)
	}
	return text, nil
}

// normalise sorts the keys of a JSON text: protojson varies its output on purpose.
func normalise(text []byte) (json.RawMessage, error) {
	d := json.NewDecoder(bytes.NewReader(text))
	d.UseNumber()
	var value any
	if err := d.Decode(&value); err != nil {
		return nil, fmt.Errorf("reading JSON: %w", err)
	}
	var out bytes.Buffer
	e := json.NewEncoder(&out)
	e.SetEscapeHTML(false)
	if err := e.Encode(value); err != nil {
		return nil, fmt.Errorf("writing JSON: %w", err)
	}
	return out.Bytes(), nil
}

func indent(value any) ([]byte, error) {
	var out bytes.Buffer
	e := json.NewEncoder(&out)
	e.SetEscapeHTML(false)
	e.SetIndent("", "  ")
	if err := e.Encode(value); err != nil {
		return nil, fmt.Errorf("writing JSON: %w", err)
	}
	return out.Bytes(), nil
}
