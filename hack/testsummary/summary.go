// SPDX-License-Identifier: Apache-2.0

package main

import (
	"cmp"
	"fmt"
	"io"
	"slices"
	"strings"
)

// slowest is how many tests the list of slow ones names.
const slowest = 10

// figure is the attribute (testing.T.Attr) of a test in which it says what it found
// for whoever runs it. It is printed also where the test passes.
const figure = "figure"

type summary struct {
	out                     io.Writer
	packages                map[string]*testedPackage
	ran                     []ranTest
	passed, failed, skipped int
}

// testedPackage gathers one package until its last event, because packages are
// tested side by side and their events come mixed.
type testedPackage struct {
	tests   []ranTest
	output  map[string][]string // by test; "" is the package's own
	figures map[string][]string // by test, those of its subtests with it
}

type ranTest struct {
	pkg, name, action string
	seconds           float64
}

func newSummary(out io.Writer) *summary {
	return &summary{out: out, packages: make(map[string]*testedPackage)}
}

func (s *summary) line(raw []byte) {
	e, ok := parseEvent(raw)
	if !ok {
		// The go command's own words, of a broken go.mod for instance.
		fmt.Fprint(s.out, string(raw))
		return
	}
	switch e.Action {
	case "build-output":
		fmt.Fprint(s.out, e.Output)
	case "output":
		p := s.of(e.Package)
		p.output[e.Test] = append(p.output[e.Test], e.Output)
	case "attr":
		if e.Key == figure {
			top, _, _ := strings.Cut(e.Test, "/")
			s.of(e.Package).figures[top] = append(s.of(e.Package).figures[top], e.Value+"\n")
		}
	case "pass", "fail", "skip":
		if e.Test == "" {
			s.packageEnds(e)
			return
		}
		s.testEnds(e)
	}
}

func (s *summary) of(pkg string) *testedPackage {
	p, ok := s.packages[pkg]
	if !ok {
		p = &testedPackage{output: make(map[string][]string), figures: make(map[string][]string)}
		s.packages[pkg] = p
	}
	return p
}

func (s *summary) testEnds(e event) {
	p := s.of(e.Package)
	t := ranTest{pkg: e.Package, name: e.Test, action: e.Action, seconds: e.Elapsed}
	// A subtest is named only where it says more than its parent: it failed or was skipped.
	if strings.Contains(e.Test, "/") && e.Action == "pass" {
		return
	}
	p.tests = append(p.tests, t)
}

func (s *summary) packageEnds(e event) {
	p := s.of(e.Package)
	delete(s.packages, e.Package)
	if e.Action == "skip" && len(p.tests) == 0 {
		return // no test files
	}
	fmt.Fprintf(s.out, "%s\t%s\t%.3fs\n", map[string]string{"pass": "ok  ", "fail": "FAIL", "skip": "ok  "}[e.Action], e.Package, e.Elapsed)
	before := s.failed
	for _, t := range p.tests {
		s.count(t)
		fmt.Fprintf(s.out, "  %-4s %s (%.2fs)\n", t.action, t.name, t.seconds)
		if t.action != "pass" {
			s.quote(p.output[t.name])
		}
		s.quote(p.figures[t.name])
	}
	if e.Action == "fail" && s.failed == before {
		// It did not build, crashed, or ran into its time limit: no test can be blamed.
		s.failed++
		for _, name := range outputOrder(p.output) {
			s.quote(p.output[name])
		}
	}
}

// outputOrder is the tests with output, the package's own output last.
func outputOrder(output map[string][]string) []string {
	names := make([]string, 0, len(output))
	for name := range output {
		names = append(names, name)
	}
	slices.Sort(names)
	return append(slices.DeleteFunc(names, func(n string) bool { return n == "" }), "")
}

func (s *summary) count(t ranTest) {
	if strings.Contains(t.name, "/") {
		return
	}
	s.ran = append(s.ran, t)
	switch t.action {
	case "pass":
		s.passed++
	case "fail":
		s.failed++
	case "skip":
		s.skipped++
	}
}

func (s *summary) quote(output []string) {
	for line := range strings.Lines(strings.Join(output, "")) {
		if strings.HasPrefix(line, "=== ") {
			continue // the progress that go test -v prints
		}
		fmt.Fprint(s.out, "      ", strings.TrimSuffix(line, "\n"), "\n")
	}
}

func (s *summary) finish() {
	unfinished := make([]string, 0, len(s.packages))
	for name := range s.packages {
		unfinished = append(unfinished, name)
	}
	slices.Sort(unfinished)
	for _, name := range unfinished {
		fmt.Fprintf(s.out, "FAIL\t%s\tits events stopped before its end\n", name)
		s.failed++
	}
	slices.SortStableFunc(s.ran, func(a, b ranTest) int { return cmp.Compare(b.seconds, a.seconds) })
	fmt.Fprintln(s.out, "slowest tests:")
	for _, t := range s.ran[:min(slowest, len(s.ran))] {
		fmt.Fprintf(s.out, "  %7.2fs  %s %s\n", t.seconds, t.pkg, t.name)
	}
}

func (s *summary) total() string {
	return fmt.Sprintf("%d passed, %d failed, %d skipped", s.passed, s.failed, s.skipped)
}
