// SPDX-License-Identifier: Apache-2.0

package collect

import (
	"encoding/base64"
	"encoding/json"
	"os"
	"strings"
	"testing"

	"github.com/ambient22/ambient22/internal/dump/dumptest"
)

const (
	key   = "-----BEGIN PRIVATE KEY-----\nMC4CAQAwBQYDK2VwBCIEIFOOBAR==\n-----END PRIVATE KEY-----\n"
	token = "eyJhbGciOiJSUzI1NiJ9.eyJpc3MiOiJrdWJlcm5ldGVzIn0.c2lnbmF0dXJl"
)

// hidden are the forms in which a secret must not be in an archive.
func hidden() map[string]string {
	all := map[string]string{}
	for name, secret := range map[string]string{"key": key, "token": token, "password": "hunter-two"} {
		quoted, _ := json.Marshal(secret)
		all[name] = secret
		all[name+", quoted"] = strings.Trim(string(quoted), `"`)
		all[name+", in base64"] = base64.StdEncoding.EncodeToString([]byte(secret))
	}
	return all
}

func TestSecretsAreTakenOut(t *testing.T) {
	inBase64 := base64.StdEncoding.EncodeToString([]byte(key))
	text := `{"configs": [{
  "@type": "type.googleapis.com/envoy.admin.v3.SecretsConfigDump",
  "dynamic_active_secrets": [{"name": "spiffe://a", "secret": {"@type": "t.Secret", "name": "spiffe://a",
    "tls_certificate": {"certificate_chain": {"inline_bytes": "Y2hhaW4="}, "private_key": {"inline_bytes": "` + inBase64 + `"}}}}],
  "n": [1.50, 1e3, true, null, "a\"b\\"]},
 {"static": {"transportSocket": {"privateKey": {"inlineString": "` + strings.ReplaceAll(key, "\n", `\n`) + `"}, "password": {"inline_string": "hunter-two"}}},
  "anywhere": ["` + token + `", "Bearer ` + token + `", "` + inBase64 + `", "http://u:hunter-two@proxy:3128/x", "a://b:80/c@d", "é\u00e9"], "kept": {"private_key": {"filename": "/etc/key.pem"}}}]}
`
	got, err := redact([]byte(text))
	if err != nil {
		t.Fatal(err)
	}
	for name, secret := range hidden() {
		if strings.Contains(got, secret) {
			t.Errorf("the %s is still there", name)
		}
	}
	for _, want := range []string{
		`"name": "spiffe://a", "secret": {"@type": "t.Secret", "name": "spiffe://a"`, `"filename": "/etc/key.pem"`,
		`"inline_bytes": "W3JlZGFjdGVkXQ=="`, `"n": [1.50, 1e3, true, null, "a\"b\\"]`, `"a://b:80/c@d", "é\u00e9"`, `"inlineString": "[redacted]"`,
	} {
		if !strings.Contains(got, want) {
			t.Errorf("%s is gone", want)
		}
	}
	if strings.Contains(got, "Y2hhaW4=") {
		t.Error("the body of a secret is still there")
	}
	if !json.Valid([]byte(got)) {
		t.Errorf("it is no JSON any more:\n%s", got)
	}
}

func TestWhatHasNoSecretsStaysAsItIs(t *testing.T) {
	text, err := os.ReadFile(dumptest.Path(t, dumptest.Geneve+"/node-a/ztunnel/config_dump.json"))
	if err != nil {
		t.Fatal(err)
	}
	got, err := redact(text)
	if err != nil {
		t.Fatal(err)
	}
	if got != string(text) {
		t.Error("a config_dump that was redacted before is changed again")
	}
}

func TestWhatIsNoJSONIsNotPassedOn(t *testing.T) {
	for _, text := range []string{"", "{", `{"a": }`, "<html>", `{"a": 1} x`, `{"private_key": "` + "x"} {
		if got, err := redact([]byte(text)); err == nil {
			t.Errorf("%q became %q", text, got)
		}
	}
}

// FuzzRedact: whatever comes, it ends, and JSON stays JSON without the key.
func FuzzRedact(f *testing.F) {
	f.Add(`{"private_key": {"inline_string": "x"}}`)
	f.Add(`[{"secret": ["a", {"b": "c"}], "d": "e\\"}]`)
	f.Fuzz(func(t *testing.T, text string) {
		got, err := redact([]byte(text))
		if err == nil && !json.Valid([]byte(got)) {
			t.Errorf("%q became %q", text, got)
		}
	})
}
