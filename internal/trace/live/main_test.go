// SPDX-License-Identifier: Apache-2.0

package live

import (
	"os"
	"testing"
)

// TestMain lets the test binary be the child that puts back what a trace changed.
func TestMain(m *testing.M) {
	if code, ours := Dispatch(os.Args); ours {
		os.Exit(code)
	}
	os.Exit(m.Run())
}
