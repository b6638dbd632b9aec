// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"strings"
	"testing"
)

func TestBadFlags(t *testing.T) {
	for args, wants := range map[string][]string{
		"--requester node --http-addr here": {`--requester: "node" is no service account`, "--http-addr"},
		"--log-level loud":                  {"--log-level"},
		"--log-format xml":                  {"--log-format", "json"},
		"--trust-domain Cluster":            {`the trust domain "Cluster" is none`},
		"--cert-ttl 10s --ca-ttl 1h":        {"certificates of 10s are shorter", "roots of 1h0m0s are too short"},
		"--ca-secret= --lease=":             {"--ca-secret: a name is missing", "--lease: a name is missing"},
		"--kubeconfig /nonexistent/k":       {"finding the API server", "/nonexistent/k"},
		"extra":                             {"extra"},
	} {
		t.Run(args, func(t *testing.T) {
			var out, errs bytes.Buffer
			if code := run(t.Context(), strings.Fields(args), &out, &errs); code == 0 || out.Len() > 0 {
				t.Errorf("exit code %d, output %q", code, out.String())
			}
			for _, want := range wants {
				if !strings.Contains(errs.String(), want) {
					t.Errorf("the error does not say %q:\n%s", want, errs.String())
				}
			}
		})
	}
}
