// SPDX-License-Identifier: Apache-2.0

package main

import (
	"strings"
	"testing"
)

func TestTable(t *testing.T) {
	const results = `goos: linux
BenchmarkBuild/10/100/shared-2     2  58600634 ns/op  0.6842 CDS-MB  95858 allocs/op
BenchmarkBuild/10/100/shared-2     2  48600634 ns/op  0.6842 CDS-MB  95859 allocs/op
BenchmarkBuild/per-service-2       1  1000000 ns/op  7 more
BenchmarkWrite-2  10  5 ns/op
PASS
`
	const want = `| Build | ms | CDS-MB | allocs/op | more |
| --- | ---: | ---: | ---: | ---: |
| 10/100/shared | 48.6 | 0.684 | 95858 |  |
| per-service | 1 |  |  | 7 |

| Write | ms |
| --- | ---: |
|  | 5e-06 |

`
	var out, errors strings.Builder
	if code := run(strings.NewReader(results), &out, &errors); code != 0 || out.String() != want {
		t.Errorf("exit code %d, %s\n%s", code, errors.String(), out.String())
	}
	if code := run(strings.NewReader("BenchmarkX-2 1 many ns/op\n"), &out, &errors); code == 0 {
		t.Error("a figure that is none is taken")
	}
}
