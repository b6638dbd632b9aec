// SPDX-License-Identifier: Apache-2.0

// Command benchtable reads the output of `go test -bench` on standard input and
// prints each benchmark as a table in Markdown: a row per case, a column per unit,
// in the order in which the units first appear. Cases that ran several times have
// one row, with the least of each figure, because what else a machine does can only
// add to it.
package main

import (
	"bufio"
	"fmt"
	"io"
	"math"
	"os"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

func main() { os.Exit(run(os.Stdin, os.Stdout, os.Stderr)) }

func run(stdin io.Reader, stdout, stderr io.Writer) int {
	tables, err := read(stdin)
	if err != nil {
		fmt.Fprintf(stderr, "benchtable: %v\n", err)
		return 1
	}
	for _, t := range tables {
		t.print(stdout)
	}
	return 0
}

// table is one benchmark.
type table struct {
	name  string
	units []string
	cases []string
	cells map[[2]string]float64 // by case and unit
}

// read collects the tables; lines that are no result are passed over.
func read(r io.Reader) ([]*table, error) {
	var tables []*table
	line := regexp.MustCompile(`^Benchmark(\w+?)(?:/(\S+?))?(?:-\d+)?\s+\d+\s+(.*)$`)
	lines := bufio.NewScanner(r)
	for lines.Scan() {
		m := line.FindStringSubmatch(lines.Text())
		if m == nil {
			continue
		}
		i := slices.IndexFunc(tables, func(t *table) bool { return t.name == m[1] })
		if i < 0 {
			i = len(tables)
			tables = append(tables, &table{name: m[1], cells: map[[2]string]float64{}})
		}
		if err := tables[i].add(m[2], strings.Fields(m[3])); err != nil {
			return nil, fmt.Errorf("reading %q: %w", lines.Text(), err)
		}
	}
	if err := lines.Err(); err != nil {
		return nil, fmt.Errorf("reading results: %w", err)
	}
	return tables, nil
}

// add takes the figures of one run, each followed by its unit.
func (t *table) add(name string, fields []string) error {
	if !slices.Contains(t.cases, name) {
		t.cases = append(t.cases, name)
	}
	for i := 0; i+1 < len(fields); i += 2 {
		value, err := strconv.ParseFloat(fields[i], 64)
		if err != nil {
			return err
		}
		unit := fields[i+1]
		if !slices.Contains(t.units, unit) {
			t.units = append(t.units, unit)
		}
		cell := [2]string{name, unit}
		if least, ok := t.cells[cell]; !ok || value < least {
			t.cells[cell] = value
		}
	}
	return nil
}

func (t *table) print(w io.Writer) {
	fmt.Fprintf(w, "| %s |", t.name)
	for _, unit := range t.units {
		fmt.Fprintf(w, " %s |", heading(unit))
	}
	fmt.Fprintf(w, "\n| --- |%s\n", strings.Repeat(" ---: |", len(t.units)))
	for _, c := range t.cases {
		fmt.Fprintf(w, "| %s |", c)
		for _, unit := range t.units {
			text := ""
			if value, ok := t.cells[[2]string{c, unit}]; ok {
				text = figure(unit, value)
			}
			fmt.Fprintf(w, " %s |", text)
		}
		fmt.Fprintln(w)
	}
	fmt.Fprintln(w)
}

// heading is a unit as a person reads it.
func heading(unit string) string {
	if unit == "ns/op" {
		return "ms"
	}
	return unit
}

// figure is a value to three digits.
func figure(unit string, value float64) string {
	if unit == "ns/op" {
		value /= 1e6
	}
	if value == math.Trunc(value) || value >= 1000 {
		return strconv.FormatFloat(value, 'f', 0, 64)
	}
	return strconv.FormatFloat(value, 'g', 3, 64)
}
