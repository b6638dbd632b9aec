// SPDX-License-Identifier: Apache-2.0

// Command testsummary reads the events of `go test -json` on standard input and
// prints what a person wants to read: each package with the tests that ran in it
// and their times, the full output of what failed, the reason of what was
// skipped, the slowest tests, and "N passed, N failed, N skipped" as its last line.
//
// It exits with 1 when anything failed, or when no test ran at all.
package main

import (
	"bufio"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"os"
)

func main() { os.Exit(run(os.Args[1:], os.Stdin, os.Stdout, os.Stderr)) }

func run(args []string, stdin io.Reader, stdout, stderr io.Writer) int {
	flags := flag.NewFlagSet("testsummary", flag.ContinueOnError)
	flags.SetOutput(stderr)
	total := flags.String("total", "", "write the last line to this `file` too")
	if err := flags.Parse(args); err != nil {
		return 2
	}
	s := newSummary(stdout)
	if err := readEvents(stdin, s); err != nil {
		fmt.Fprintf(stderr, "testsummary: %v\n", err)
		return 1
	}
	s.finish()
	fmt.Fprintln(stdout, s.total())
	if *total != "" {
		if err := os.WriteFile(*total, []byte(s.total()+"\n"), 0o644); err != nil {
			fmt.Fprintf(stderr, "testsummary: writing the total: %v\n", err)
			return 1
		}
	}
	if s.failed > 0 || s.passed == 0 {
		return 1
	}
	return 0
}

func readEvents(r io.Reader, s *summary) error {
	lines := bufio.NewReader(r)
	for {
		line, err := lines.ReadBytes('\n')
		if len(line) > 0 {
			s.line(line)
		}
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return fmt.Errorf("reading test events: %w", err)
		}
	}
}

// event is one line of `go test -json`, as `go doc test2json` describes it.
type event struct {
	Action     string
	Package    string
	ImportPath string // of build events
	Test       string
	Elapsed    float64 // seconds
	Output     string
	Key, Value string // of an attribute
}

func parseEvent(line []byte) (event, bool) {
	var e event
	if err := json.Unmarshal(line, &e); err != nil || e.Action == "" {
		return event{}, false
	}
	return e, true
}
