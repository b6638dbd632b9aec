// SPDX-License-Identifier: Apache-2.0

package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

const events = `{"Action":"start","Package":"m/a"}
{"Action":"run","Package":"m/a","Test":"TestGood"}
{"Action":"output","Package":"m/a","Test":"TestGood","Output":"chatter\n"}
{"Action":"attr","Package":"m/a","Test":"TestGood/sub","Key":"figure","Value":"3 of 3 answered"}
{"Action":"attr","Package":"m/a","Test":"TestGood/sub","Key":"colour","Value":"blue"}
{"Action":"pass","Package":"m/a","Test":"TestGood/sub","Elapsed":0.1}
{"Action":"pass","Package":"m/a","Test":"TestGood","Elapsed":0.25}
{"Action":"output","Package":"m/a","Test":"TestSkipped","Output":"    no Geneve here\n"}
{"Action":"skip","Package":"m/a","Test":"TestSkipped","Elapsed":0}
{"Action":"pass","Package":"m/a","Elapsed":0.3}
{"Action":"start","Package":"m/none"}
{"Action":"output","Package":"m/none","Output":"?   \tm/none\t[no test files]\n"}
{"Action":"skip","Package":"m/none","Elapsed":0}
`

func summarise(t *testing.T, input string) (code int, out string) {
	t.Helper()
	var stdout, stderr strings.Builder
	code = run(nil, strings.NewReader(input), &stdout, &stderr)
	return code, stdout.String() + stderr.String()
}

func TestPassing(t *testing.T) {
	code, out := summarise(t, events)
	if code != 0 {
		t.Errorf("exit code %d", code)
	}
	for _, want := range []string{"ok  \tm/a\t0.300s", "pass TestGood (0.25s)", "skip TestSkipped", "no Geneve here",
		"pass TestGood (0.25s)\n      3 of 3 answered\n"} {
		if !strings.Contains(out, want) {
			t.Errorf("missing %q in:\n%s", want, out)
		}
	}
	for _, noise := range []string{"chatter", "blue", "m/none", "TestGood/sub"} {
		if strings.Contains(out, noise) {
			t.Errorf("%q should not be printed:\n%s", noise, out)
		}
	}
	if !strings.HasSuffix(out, "\n1 passed, 0 failed, 1 skipped\n") {
		t.Errorf("last line of:\n%s", out)
	}
}

func TestFailingTestIsQuoted(t *testing.T) {
	code, out := summarise(t, events+`{"Action":"output","Package":"m/b","Test":"TestBad","Output":"=== RUN TestBad\n"}
{"Action":"output","Package":"m/b","Test":"TestBad/x","Output":"    b_test.go:1: broken\n"}
{"Action":"fail","Package":"m/b","Test":"TestBad/x","Elapsed":1}
{"Action":"fail","Package":"m/b","Test":"TestBad","Elapsed":1}
{"Action":"fail","Package":"m/b","Elapsed":1}
`)
	if code != 1 {
		t.Errorf("exit code %d", code)
	}
	if !strings.Contains(out, "      "+"    b_test.go:1: broken") || strings.Contains(out, "=== RUN") {
		t.Errorf("the failure's output is missing or noisy:\n%s", out)
	}
	if !strings.HasSuffix(out, "\n1 passed, 1 failed, 1 skipped\n") {
		t.Errorf("last line of:\n%s", out)
	}
}

// A package that does not build or crashes has no failed test to count.
func TestPackageFailureCounts(t *testing.T) {
	for name, input := range map[string]string{
		"does not build": `{"ImportPath":"m/c","Action":"build-output","Output":"c.go:1: undefined\n"}
{"Action":"fail","Package":"m/c","Elapsed":0,"FailedBuild":"m/c"}
`,
		"crashes": `{"Action":"output","Package":"m/c","Test":"TestX","Output":"panic: c.go:1: undefined\n"}
{"Action":"fail","Package":"m/c","Elapsed":0}
`,
		"stops": `{"Action":"output","Package":"m/c","Output":"c.go:1: undefined\n"}
`,
	} {
		t.Run(name, func(t *testing.T) {
			code, out := summarise(t, events+input)
			if code != 1 || !strings.HasSuffix(out, "\n1 passed, 1 failed, 1 skipped\n") {
				t.Errorf("exit code %d for:\n%s", code, out)
			}
			if name != "stops" && !strings.Contains(out, "c.go:1: undefined") {
				t.Errorf("the reason is missing:\n%s", out)
			}
		})
	}
}

func TestNothingRunFails(t *testing.T) {
	if code, out := summarise(t, ""); code != 1 || !strings.HasSuffix(out, "0 passed, 0 failed, 0 skipped\n") {
		t.Errorf("exit code %d for:\n%s", code, out)
	}
}

func TestTotalIsWritten(t *testing.T) {
	file := filepath.Join(t.TempDir(), "total")
	var out strings.Builder
	if code := run([]string{"-total", file}, strings.NewReader(events), &out, &out); code != 0 {
		t.Fatalf("exit code %d", code)
	}
	got, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if string(got) != "1 passed, 0 failed, 1 skipped\n" {
		t.Errorf("total %q", got)
	}
}
