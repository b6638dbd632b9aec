// SPDX-License-Identifier: Apache-2.0

package faults

import (
	"cmp"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/ambient22/ambient22/internal/dump"
	"github.com/ambient22/ambient22/internal/nodediff"
)

// ruleLine is a line of "ip rule" in its parts.
type ruleLine struct {
	line, rest string // rest stands behind the priority
	priority   int
}

func readRules(text string) []ruleLine {
	var out []ruleLine
	for line := range strings.SplitSeq(text, "\n") {
		number, rest, is := strings.Cut(line, ":")
		priority, err := strconv.Atoi(strings.TrimSpace(number))
		if is && err == nil {
			out = append(out, ruleLine{line, strings.Join(strings.Fields(rest), " "), priority})
		}
	}
	return out
}

// ipRules are the faults of the ip rules that lead into the data path's tables.
func ipRules(a *dump.Archive, space string) ([]Fault, error) {
	var out []Fault
	for _, r := range readRules(text(a, space, dump.KindRules)) {
		if r.priority == 0 || r.priority >= 32766 {
			continue
		}
		base := Fault{Space: space, Section: nodediff.IPRules, Line: fmt.Sprintf("%d: %s", r.priority, r.rest)}
		gone := base
		gone.What, gone.Kind = "deleted", nodediff.Missing
		gone.Place = fmt.Sprint(r.priority)
		gone.edits = map[dump.Kind]func(string) string{dump.KindRules: without(func(line string) bool { return line == r.line })}
		gone.script = fmt.Sprintf("ip rule del pref %d", r.priority)
		out = append(out, gone)

		after := 33000 + r.priority%100 // behind the rule for the main table
		if strings.Contains(r.rest, "goto ") {
			after = 150 // the kernel refuses jumps backwards
		}
		out = append(out, otherRule(base, r, "priority", strconv.Itoa(r.priority), strconv.Itoa(after), after, r.rest))
		if before, behind, is := strings.Cut(r.rest, "fwmark "); is {
			mark, tail, _ := strings.Cut(behind, " ")
			value, mask, _ := strings.Cut(mark, "/")
			other := "0xfff"
			if mask == other {
				other = "0xf00"
			}
			out = append(out, otherRule(base, r, "fwmark mask", mask, other, r.priority, before+"fwmark "+value+"/"+other+" "+tail))
			// A value outside its mask would match all that is not marked.
			bits := mask
			if mask != "0xfff" {
				bits = "0x8"
			}
			out = append(out, otherRule(base, r, "fwmark", value+"/"+mask, "0x8/"+bits, r.priority, before+"fwmark 0x8/"+bits+" "+tail))
		}
		if before, table, is := strings.Cut(r.rest, "lookup "); is {
			other := map[string]string{"100": "101", "101": "102", "102": "101"}[table]
			out = append(out, otherRule(base, r, "lookup", table, other, r.priority, before+"lookup "+other))
		}
		if before, to, is := strings.Cut(r.rest, "goto "); is {
			out = append(out, otherRule(base, r, "goto", to, "32767", r.priority, before+"goto 32767"))
		}
	}
	return out, nil
}

func otherRule(f Fault, r ruleLine, field, from, to string, priority int, rest string) Fault {
	f.What, f.Kind, f.Field = fmt.Sprintf("%s %s → %s", field, from, to), nodediff.Changed, field
	f.Place = fmt.Sprint(r.priority)
	f.edits = map[dump.Kind]func(string) string{dump.KindRules: func(text string) string {
		rules := readRules(text)
		for i := range rules {
			if rules[i].line == r.line {
				rules[i] = ruleLine{fmt.Sprintf("%d:\t%s", priority, rest), rest, priority}
			}
		}
		slices.SortStableFunc(rules, func(a, b ruleLine) int { return cmp.Compare(a.priority, b.priority) })
		var out strings.Builder
		for _, x := range rules {
			out.WriteString(x.line + "\n")
		}
		return out.String()
	}}
	f.script = fmt.Sprintf("ip rule del pref %d && ip rule add pref %d %s", r.priority, priority, rest)
	return f
}

// routes are the faults of the tables 100 to 102.
func routes(a *dump.Archive, space string) ([]Fault, error) {
	var out []Fault
	for line := range strings.SplitSeq(text(a, space, dump.KindRoutes), "\n") {
		table := ""
		for _, t := range []string{"100", "101", "102"} {
			if strings.Contains(line+" ", " table "+t+" ") {
				table = t
			}
		}
		if table == "" {
			continue
		}
		words := strings.Fields(line)
		to := words[0]
		if to == "local" {
			to = "local " + words[1]
		}
		out = append(out, Fault{
			Space: space, Section: nodediff.Routes, Place: "table " + table, Kind: nodediff.Missing,
			Line: strings.Join(strings.Fields(strings.Replace(line, " table "+table, "", 1)), " "), What: to + " deleted",
			edits:  map[dump.Kind]func(string) string{dump.KindRoutes: without(func(l string) bool { return l == line })},
			script: fmt.Sprintf("ip route del %s table %s", to, table),
		})
	}
	return out, nil
}

// sysctls are the settings that the data path makes, each with the value it had before.
func sysctls(a *dump.Archive, space string) ([]Fault, error) {
	parsed, err := a.Parse()
	if err != nil {
		return nil, fmt.Errorf("reading the dump: %w", err)
	}
	report, err := nodediff.Plan(parsed, nodediff.Options{Scope: space})
	if err != nil {
		return nil, err
	}
	var out []Fault
	for _, f := range report.Findings {
		if f.Section != nodediff.Sysctls || f.Space != space {
			continue
		}
		name, value, _ := strings.Cut(f.Want, " = ")
		other := "1"
		if value == "1" {
			other = "0"
		}
		out = append(out, Fault{
			Space: space, Section: nodediff.Sysctls, Place: name, Line: f.Want, Kind: nodediff.Changed, Field: name,
			What:   value + " → " + other,
			edits:  map[dump.Kind]func(string) string{dump.KindSysctls: setting(name, value, other)},
			script: fmt.Sprintf("sysctl -q -w %s=%s", name, other),
		})
	}
	return out, nil
}

// setting changes a setting. That of forwarding changes those of all devices, too.
func setting(name, value, other string) func(string) string {
	if name != "net.ipv4.ip_forward" {
		return instead(name+" = "+value, name+" = "+other)
	}
	return eachLine(func(line string) []string {
		if line == name+" = "+value || strings.HasPrefix(line, "net.ipv4.conf.") && strings.HasSuffix(line, ".forwarding = "+value) {
			line = strings.TrimSuffix(line, value) + other
		}
		return []string{line}
	})
}

// entries are the faults of the set of enrolled pods.
func entries(a *dump.Archive, space string) ([]Fault, error) {
	var out []Fault
	for line := range strings.SplitSeq(text(a, space, dump.KindSets), "\n") {
		words := strings.Fields(line)
		if len(words) < 3 || words[0] != "add" {
			continue
		}
		name, ip := words[1], words[2]
		base := Fault{Space: space, Section: nodediff.Sets, Place: name, Line: line}
		gone := base
		gone.What, gone.Kind = ip+" deleted", nodediff.Missing
		gone.edits = map[dump.Kind]func(string) string{dump.KindSets: without(func(l string) bool { return l == line })}
		gone.script = fmt.Sprintf("ipset del %s %s", name, ip)
		out = append(out, gone)
		if before, comment, is := strings.Cut(line, " comment "); is {
			other := base
			other.What, other.Kind, other.Field = ip+" with another pod's UID", nodediff.Changed, "comment"
			uid := `"00000000-0000-4000-8000-000000000000"`
			other.edits = map[dump.Kind]func(string) string{dump.KindSets: instead(line, before+" comment "+uid)}
			other.script = fmt.Sprintf("ipset del %s %s && ipset add %s %s comment %s", name, ip, name, ip, uid)
			_ = comment
			out = append(out, other)
		}
	}
	return out, nil
}
