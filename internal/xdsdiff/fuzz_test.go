// SPDX-License-Identifier: Apache-2.0

package xdsdiff_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"github.com/ambient22/ambient22/internal/xdsdiff"
)

// FuzzCompare takes any two files. Each is compared or refused; one that is taken
// equals itself when only its keys' order, escapes and white space are others; and
// the differences of B from A are those of A from B.
func FuzzCompare(f *testing.F) {
	f.Add([]byte(dump), []byte(`[{"name":"c","type":"EDS"}]`))
	f.Add([]byte(`{"listeners":[{"name":"l","filter_chains":[{"name":"a"},{"name":"a"}]}],"clusters":[]}`), []byte(`{"listeners":[{"name":"l","filter_chains":[{"name":"a"}]}]}`))
	f.Add([]byte(`[{"cluster_name":"c","endpoints":[{"lb_endpoints":[{"endpoint_name":"x"}]}]}]`), []byte(`{"endpoint_config":{"endpoints":[{"lb_endpoints":[{"endpoint_name":"x"}]}]}}`))
	f.Add([]byte(`[{"name":"e","typed_config":{"@type":"t/google.protobuf.Duration","value":"1.50s"}}]`), []byte(`[{"name":"e","typed_config":{"@type":"t/no.Such","value":1e3}}]`))
	f.Add([]byte(`[{"name":"s","tls_certificate":{"private_key":{"inline_bytes":"_-8"}}}]`), []byte(`{"@type":"envoy.admin.v3.SecretsConfigDump"}`))
	f.Fuzz(func(t *testing.T, textA, textB []byte) {
		dir := t.TempDir()
		a, err := openText(dir, "a", textA)
		if err != nil {
			return
		}
		defer a.Close()
		if once, err := run(a, a); err == nil && !once.Same() {
			t.Errorf("it differs from itself: %+v", once)
		}
		again, err := openText(dir, "again", respelled(t, textA))
		if err != nil {
			t.Fatalf("respelled it is refused: %v", err)
		}
		defer again.Close()
		if s, err := run(a, again); err == nil && !s.Same() {
			t.Errorf("respelled it differs: %+v", s)
		}
		b, err := openText(dir, "b", textB)
		if err != nil {
			return
		}
		defer b.Close()
		forward, err1 := run(a, b)
		backward, err2 := run(b, a)
		if (err1 == nil) != (err2 == nil) {
			t.Fatalf("forward %v, backward %v", err1, err2)
		}
		if err1 == nil && (forward.Equal != backward.Equal || forward.OnlyA != backward.OnlyB || forward.Differences != backward.Differences) {
			t.Errorf("forward %+v, backward %+v", forward, backward)
		}
	})
}

func openText(dir, name string, text []byte) (*xdsdiff.File, error) {
	path := filepath.Join(dir, name)
	if err := os.WriteFile(path, text, 0o600); err != nil {
		return nil, err
	}
	return xdsdiff.Open(path, nil)
}

// run compares and prints, so that what is printed is JSON whatever was read.
func run(a, b *xdsdiff.File) (*xdsdiff.Summary, error) {
	var text, object bytes.Buffer
	people := &xdsdiff.Printer{Out: &text}
	machines := &xdsdiff.JSONPrinter{Out: &object, A: a.Name, B: b.Name}
	s, err := xdsdiff.Compare(a, b, xdsdiff.Options{ShowAdded: true}, func(r xdsdiff.Resource) error {
		if err := people.Resource(r); err != nil {
			return err
		}
		return machines.Resource(r)
	})
	if err != nil {
		return nil, err
	}
	if err := machines.Summary(s); err != nil {
		return nil, err
	}
	if !json.Valid(object.Bytes()) {
		panic(fmt.Sprintf("no JSON: %s", object.Bytes()))
	}
	return s, nil
}

// respelled writes a JSON text with its keys sorted.
func respelled(t *testing.T, text []byte) []byte {
	d := json.NewDecoder(bytes.NewReader(bytes.TrimPrefix(text, []byte("\xef\xbb\xbf"))))
	d.UseNumber()
	var v any
	if err := d.Decode(&v); err != nil {
		t.Fatalf("what was read is no JSON: %v", err)
	}
	out, err := json.MarshalIndent(v, "", "\t")
	if err != nil {
		t.Fatal(err)
	}
	return out
}
