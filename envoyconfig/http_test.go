// SPDX-License-Identifier: Apache-2.0

package envoyconfig

import (
	"fmt"
	"regexp"
	"testing"
)

// TestPlainAddress wants exactly the ports there are, each in one spelling.
func TestPlainAddress(t *testing.T) {
	whole := regexp.MustCompile(`^(?:` + plainAddress + `)$`)
	for port := range 100_000 {
		want := port >= 1 && port <= 65535
		if got := whole.MatchString(fmt.Sprintf("10.4.3.20:%d", port)); got != want {
			t.Errorf("port %d: matched %v, want %v", port, got, want)
		}
		if padded := fmt.Sprintf("10.4.3.20:%06d", port); whole.MatchString(padded) {
			t.Errorf("%s matched", padded)
		}
	}
}
