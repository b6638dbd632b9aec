// SPDX-License-Identifier: Apache-2.0

package meshflags_test

import (
	"strings"
	"testing"

	"github.com/spf13/pflag"

	"github.com/ambient22/ambient22/cmd/internal/meshflags"
	"github.com/ambient22/ambient22/envoyconfig"
)

func parse(args ...string) (envoyconfig.Options, error) {
	var form meshflags.Form
	set := pflag.NewFlagSet("test", pflag.ContinueOnError)
	form.Register(set)
	if err := set.Parse(args); err != nil {
		return envoyconfig.Options{}, err
	}
	return form.Options()
}

func TestForm(t *testing.T) {
	for args, want := range map[string]envoyconfig.Options{
		"":                                       {},
		"--profile=article --dialect=istio-1.16": {},
		"--profile=hardened":                     {Profile: envoyconfig.Hardened},
		"--profile=hardened --dialect=upstream":  {Profile: envoyconfig.Hardened, Dialect: envoyconfig.Upstream},
	} {
		if got, err := parse(strings.Fields(args)...); err != nil || got != want {
			t.Errorf("%s: %v, %v", args, got, err)
		}
	}
	_, err := parse("--profile=hard", "--dialect=envoy")
	for _, want := range []string{`--profile: "hard" is neither article nor hardened`, `--dialect: "envoy" is neither istio-1.16 nor upstream`} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("the error %v does not say %s", err, want)
		}
	}
}
