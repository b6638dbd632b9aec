// SPDX-License-Identifier: Apache-2.0

//go:build e2e

package e2e

import (
	"fmt"
	"testing"
)

// figure prints what was measured, also where the test passes.
func figure(t *testing.T, format string, args ...any) {
	t.Helper()
	t.Attr("figure", fmt.Sprintf(format, args...))
}
