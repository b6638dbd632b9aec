// SPDX-License-Identifier: Apache-2.0

package live

import (
	"os"
	"testing"
)

// TestMain lets the test binary be the child that puts back what a trace changed, and
// a tracer that is killed.
func TestMain(m *testing.M) {
	if code, ours := Dispatch(os.Args); ours {
		os.Exit(code)
	}
	if path := os.Getenv(childWatches); path != "" {
		os.Exit(watchAsChild(path))
	}
	os.Exit(m.Run())
}
