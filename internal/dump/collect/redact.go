// SPDX-License-Identifier: Apache-2.0

package collect

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
)

// redacted stands where something secret was. In a field of bytes it is in
// base64, so that the text stays readable as what it is.
const redacted = "[redacted]"

// secretFields are fields of Envoy's configuration whose every string is secret,
// in both spellings of field names.
var secretFields = []string{
	"private_key", "private_key_provider", "pkcs12", "password", "password_provider", "session_ticket_keys", "generic_secret",
	"token", "token_secret", "hmac_secret", "client_secret", "inline_credential", "api_key", "credential", "credentials",
	"call_credentials", "google_refresh_token", "service_account_jwt_access", "request_headers_to_add",
	"initial_metadata", "auth_username", "auth_password", "basic_auth", "authorization", "secret",
}

// redact copies JSON byte for byte except for the strings that are secret:
// those in secretFields, and those that look like keys or tokens anywhere.
func redact(text []byte) (string, error) {
	r := &redactor{text: text, in: json.NewDecoder(bytes.NewReader(text)), fields: map[string]bool{}}
	for _, f := range secretFields {
		r.fields[strings.ReplaceAll(f, "_", "")] = true
	}
	if err := r.value(false); err != nil {
		return "", err
	}
	if _, err := r.in.Token(); !errors.Is(err, io.EOF) {
		return "", fmt.Errorf("something stands behind the JSON: %w", err)
	}
	r.out.Write(text[r.done:])
	return r.out.String(), nil
}

type redactor struct {
	text   []byte
	in     *json.Decoder
	out    strings.Builder
	done   int // bytes of text that were copied or replaced
	fields map[string]bool
}

// value goes through one value. secret tells that all strings in it are.
func (r *redactor) value(secret bool) error {
	token, err := r.in.Token()
	if err != nil {
		return err
	}
	switch t := token.(type) {
	case json.Delim:
		return r.inside(t, secret)
	case string:
		r.string(t, secret, "")
	}
	return nil
}

// inside goes through an object or a list whose first delimiter was read.
func (r *redactor) inside(open json.Delim, secret bool) error {
	for r.in.More() {
		key := ""
		if open == '{' {
			token, err := r.in.Token()
			if err != nil {
				return err
			}
			key, _ = token.(string)
		}
		token, err := r.in.Token()
		if err != nil {
			return err
		}
		within := secret || r.fields[plain(key)]
		switch t := token.(type) {
		case json.Delim:
			if err := r.inside(t, within); err != nil {
				return err
			}
		case string:
			r.string(t, within && !public(key), key)
		}
	}
	_, err := r.in.Token()
	return err
}

// string copies what stands before the string that was just read, and then the
// string or what replaces it.
func (r *redactor) string(value string, secret bool, key string) {
	if !secret && !looksSecret(value) {
		return // it is copied with what follows
	}
	end := int(r.in.InputOffset())
	start := r.startOf(end)
	r.out.Write(r.text[r.done:start])
	replacement := redacted
	if plain(key) == "inlinebytes" {
		replacement = base64.StdEncoding.EncodeToString([]byte(redacted))
	}
	r.out.WriteByte('"')
	r.out.WriteString(replacement)
	r.out.WriteByte('"')
	r.done = end
}

// startOf is where the string begins that ends at end: behind the last quote
// that no backslash escapes.
func (r *redactor) startOf(end int) int {
	for at := end - 2; at >= r.done; at-- {
		if r.text[at] != '"' {
			continue
		}
		slashes := 0
		for at-1-slashes >= r.done && r.text[at-1-slashes] == '\\' {
			slashes++
		}
		if slashes%2 == 0 {
			return at
		}
	}
	return r.done
}

// plain is a field's name without what its two spellings differ in.
func plain(key string) string { return strings.ToLower(strings.ReplaceAll(key, "_", "")) }

// public fields say what a secret is called and what kind of message it is.
func public(key string) bool {
	switch plain(key) {
	case "@type", "name", "filename", "versioninfo", "lastupdated", "environmentvariable":
		return true
	}
	return false
}

// looksSecret finds keys and tokens by their looks, also in base64.
func looksSecret(value string) bool {
	if tell(value) {
		return true
	}
	if decoded, err := base64.StdEncoding.DecodeString(value); err == nil && len(decoded) > 16 {
		return tell(string(decoded))
	}
	return false
}

func tell(s string) bool {
	return strings.Contains(s, "PRIVATE KEY-----") || jwt(s) || passwordInURL(s)
}

// passwordInURL finds "scheme://user:password@host" (RFC 3986 section 3.2.1).
func passwordInURL(s string) bool {
	for {
		_, rest, found := strings.Cut(s, "://")
		if !found {
			return false
		}
		s = rest
		authority := rest
		if end := strings.IndexAny(rest, "/?# \t\r\n\""); end >= 0 {
			authority = rest[:end]
		}
		user, _, is := strings.Cut(authority, "@")
		if _, password, has := strings.Cut(user, ":"); is && has && password != "" {
			return true
		}
	}
}

// jwt tells whether a signed token is in the text: three parts of base64 with dots
// between, of which the first begins as every JSON object in base64 does.
func jwt(s string) bool {
	for {
		at := strings.Index(s, "eyJ")
		if at < 0 {
			return false
		}
		s = s[at:]
		parts := strings.SplitN(s, ".", 3)
		if len(parts) == 3 && base64url(parts[0]) && base64url(parts[1]) {
			return true
		}
		s = s[3:]
	}
}

func base64url(s string) bool {
	return s != "" && strings.Trim(s, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_=") == ""
}
