// SPDX-License-Identifier: Apache-2.0

// Package golden compares what a test made with a file that a person has read. It
// gives the tests that import it the flag -update, which writes their files anew:
//
//	go test ./noderoute -update
//
// hack/verify.sh does so in a copy of the checkout and says which files would change.
package golden

import (
	"flag"
	"os"
	"testing"

	"github.com/google/go-cmp/cmp"
)

var update = flag.Bool("update", false, "write the golden files anew")

// Check compares got with the file at path, which is relative to the test's package.
func Check[T string | []byte](t testing.TB, path string, got T) {
	t.Helper()
	if *update {
		if err := os.WriteFile(path, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), string(got)); diff != "" {
		t.Errorf("%s differs (-want +got; -update writes it anew):\n%s", path, diff)
	}
}
