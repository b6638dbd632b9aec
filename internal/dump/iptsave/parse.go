// SPDX-License-Identifier: Apache-2.0

package iptsave

import (
	"strconv"
	"strings"
)

// Parse reads what iptables-save printed, or a part of it: a listing without
// headers and chains' declarations, with marks where something was left out. The
// file's name is for its errors, which are *syntax.Error.
//
// The result shares the text's memory.
func Parse(file, text string) (*Save, error) {
	p := parser{save: &Save{}}
	p.save.layout = layout{parsed: true, open: text != "" && !strings.HasSuffix(text, "\n"), crlf: isCRLF(text)}
	for text != "" {
		var line string
		line, text, _ = strings.Cut(text, "\n")
		if p.save.layout.crlf {
			line = strings.TrimSuffix(line, "\r")
		}
		p.line++
		if err := p.read(line); err != nil {
			return nil, err.at(file, p.line)
		}
	}
	p.endTable()
	return p.save, nil
}

// isCRLF tells that all lines end in a carriage return and a newline.
func isCRLF(text string) bool {
	n := strings.Count(text, "\r\n")
	return n > 0 && n == strings.Count(text, "\n") && strings.HasSuffix(text, "\n")
}

type parser struct {
	save  *Save
	line  int
	table *Table // nil between tables
	rules ruleReader
	arena []Rule
	ipv6  bool // the last header was ip6tables-save's
}

func (p *parser) read(line string) *fault {
	switch {
	case strings.HasPrefix(line, "-A ") || strings.HasPrefix(line, "["):
		return p.rule(line)
	case strings.HasPrefix(line, ":"):
		return p.chain(line)
	case strings.HasPrefix(line, "*"):
		return p.header(line)
	case strings.HasPrefix(line, "-P ") || strings.HasPrefix(line, "-N "):
		return p.listedChain(line)
	}
	return p.other(line)
}

// other reads what is neither header, chain nor rule.
func (p *parser) other(line string) *fault {
	bare := strings.TrimSpace(line)
	switch {
	case bare == "" || strings.HasPrefix(bare, "$ "):
	case strings.TrimSuffix(bare, tail(bare)) == "COMMIT":
		p.endTable()
	case strings.HasPrefix(bare, "#"):
		p.comment(bare)
	case isOmission(bare):
		p.omit()
	case strings.HasPrefix(bare, "-A ") || strings.HasPrefix(bare, "["):
		return p.rule(line)
	default:
		return &fault{strings.Index(line, bare), "neither a table (*), a chain (:), a rule (-A) nor a comment (#)"}
	}
	p.save.layout.loose = append(p.save.layout.loose, loose{p.line, line})
	return nil
}

func isOmission(line string) bool {
	return strings.HasPrefix(line, "/*") && strings.HasSuffix(line, "*/") || line == "..." || line == "…"
}

func (p *parser) omit() {
	p.save.Omits = append(p.save.Omits, p.line)
	if p.table != nil && p.table.Line == 0 {
		p.endTable() // what was left out may have been the header of another table
	}
}

func (p *parser) header(line string) *fault {
	behind := tail(line)
	name := strings.TrimLeft(line[1:max(1, len(line)-len(behind))], " \t")
	if name == "" || strings.ContainsAny(name, " \t") {
		return &fault{1, "a table's header is *NAME"}
	}
	p.endTable()
	p.startTable(name, p.line)
	p.table.gap, p.table.tail = line[1:len(line)-len(name)-len(behind)], behind
	return nil
}

func (p *parser) startTable(name string, line int) {
	p.table = &Table{Name: name, Line: line, IPv6: p.ipv6, places: map[string]int{}}
	p.save.Tables = append(p.save.Tables, p.table)
}

// current is the table that a chain or rule belongs to.
func (p *parser) current() *Table {
	if p.table == nil {
		p.startTable("", 0)
	}
	return p.table
}

func (p *parser) endTable() {
	if p.table == nil {
		return
	}
	p.table.endsAt(p.save)
	p.table = nil
}

func (p *parser) chain(line string) *fault {
	behind := tail(line)
	line = line[:len(line)-len(behind)]
	name, rest, ok := strings.Cut(line[1:], " ")
	policy, counters, counted := strings.Cut(rest, " ")
	if !ok || name == "" || policy == "" {
		return &fault{len(line), "a chain is :NAME POLICY [PACKETS:BYTES]"}
	}
	c := &Chain{Name: name, Policy: policy, Line: p.line, tail: behind}
	if policy == "-" {
		c.Policy = ""
	}
	if counted {
		if c.Counters, ok = readCounters(counters); !ok {
			return &fault{len(line) - len(counters), "counters are [PACKETS:BYTES]"}
		}
	}
	return p.declare(c, 1)
}

// listedChain reads a chain as iptables -S prints it.
func (p *parser) listedChain(line string) *fault {
	words := strings.Split(line, " ")
	c := &Chain{Name: words[1], Line: p.line, declared: listed}
	if words[0] == "-P" && len(words) > 2 {
		c.Policy = words[2]
	}
	if words[0] == "-P" && len(words) == 6 && words[3] == "-c" {
		c.Counters, _ = readCounters("[" + words[4] + ":" + words[5] + "]")
	}
	if c.Name == "" || c.String() != line {
		return &fault{3, "a listed chain is -N NAME or -P NAME POLICY"}
	}
	return p.declare(c, 3)
}

func (p *parser) declare(c *Chain, column int) *fault {
	t := p.current()
	if at, ok := t.places[c.Name]; ok {
		old := t.Chains[at]
		if old.Line > 0 {
			return &fault{column, "chain " + c.Name + " was declared on line " + strconv.Itoa(old.Line)}
		}
		c.Rules = old.Rules
		*old = *c
		return nil
	}
	t.add(c)
	return nil
}

func (t *Table) add(c *Chain) {
	t.places[c.Name] = len(t.Chains)
	t.Chains = append(t.Chains, c)
}

func (p *parser) rule(line string) *fault {
	if len(p.arena) == cap(p.arena) {
		p.arena = make([]Rule, 0, 512)
	}
	p.arena = append(p.arena, Rule{Line: p.line})
	rule := &p.arena[len(p.arena)-1]
	if err := p.rules.read(rule, line); err != nil {
		return err
	}
	t := p.current()
	at, ok := t.places[rule.Chain]
	if !ok {
		at = len(t.Chains)
		t.add(&Chain{Name: rule.Chain, declared: implied})
	}
	t.Chains[at].Rules = append(t.Chains[at].Rules, rule)
	return nil
}

// comment notes what a comment says of the program and of the output's worth.
func (p *parser) comment(line string) {
	text := strings.TrimSpace(strings.TrimLeft(line, "#"))
	if by, ok := strings.CutPrefix(text, "Generated by "); ok {
		p.generated(by)
		return
	}
	warning, ok := strings.CutPrefix(text, "Warning: ")
	if ok || strings.HasPrefix(text, "Table `") {
		p.save.Notes = append(p.save.Notes, warning)
	}
}

// generated reads "iptables-save v1.8.9 (nf_tables) on Sat Nov 21 10:00:00 2026".
func (p *parser) generated(by string) {
	program, rest, _ := strings.Cut(by, " ")
	p.ipv6 = strings.HasPrefix(program, "ip6tables")
	version, rest, _ := strings.Cut(rest, " ")
	version, ok := strings.CutPrefix(version, "v")
	if !ok || p.save.Version != "" {
		return
	}
	p.save.Version, p.save.Variant = version, "legacy"
	// The first releases with nf_tables called the program xtables-save.
	if strings.HasPrefix(rest, "(nf_tables)") || program == "xtables-save" {
		p.save.Variant = "nf_tables"
	}
}

// readCounters reads "[PACKETS:BYTES]", in the one way they are printed.
func readCounters(word string) (*Counters, bool) {
	inner, opened := strings.CutPrefix(word, "[")
	inner, closed := strings.CutSuffix(inner, "]")
	packets, bytes, both := strings.Cut(inner, ":")
	if !opened || !closed || !both || !plain(packets) || !plain(bytes) {
		return nil, false
	}
	p, errPackets := strconv.ParseUint(packets, 10, 64)
	b, errBytes := strconv.ParseUint(bytes, 10, 64)
	return &Counters{p, b}, errPackets == nil && errBytes == nil
}

// plain tells that a number is printed without zeros in front.
func plain(number string) bool {
	return number == "0" || number != "" && number[0] != '0' && number[0] != '+'
}
