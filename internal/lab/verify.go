// SPDX-License-Identifier: Apache-2.0

package lab

import (
	"context"
	"io/fs"
	"strings"

	"github.com/ambient22/ambient22/internal/lab/listing"
)

// Verify compares every listing of the article with what the running lab prints
// for the same command. A command that fails is a failed listing, not an error.
// The system is given the moment that new addresses take to settle.
func (l *Lab) Verify(ctx context.Context) ([]listing.Result, error) {
	folder, err := fs.Sub(l.folder, "listings")
	if err != nil {
		return nil, err
	}
	set, err := listing.Load(folder)
	if err != nil {
		return nil, err
	}
	if err := l.settle(ctx); err != nil {
		return nil, err
	}
	ask := &asker{lab: l, seen: map[string]answer{}}
	names := l.veths()
	var results []listing.Result
	for i := range set.Listings {
		one := &set.Listings[i]
		a := ask.ask(ctx, one)
		if a.err != nil {
			results = append(results, one.Fail(a.err))
			continue
		}
		results = append(results, set.Compare(one, a.text, names))
	}
	return results, ctx.Err()
}

// veths says which device is the ztunnel's on each node, so that a rule that
// names any other is a difference. The topology gives it the listings' name.
func (l *Lab) veths() listing.Names {
	names := listing.Names{}
	for _, node := range l.Net.Topology.Nodes {
		if z, ok := l.Net.Topology.Pod(node.Ztunnel); ok {
			names[node.Host] = map[string]string{z.Veth: z.Veth}
		}
	}
	return names
}

// asker runs a command once, however many listings show its output.
type asker struct {
	lab  *Lab
	seen map[string]answer
}

type answer struct {
	text string
	err  error
}

func (a *asker) ask(ctx context.Context, one *listing.Listing) answer {
	key := one.Host + " " + one.Command + one.Get
	if known, ok := a.seen[key]; ok {
		return known
	}
	var got answer
	if one.Get != "" {
		got.text, got.err = a.lab.Get(ctx, one.Host, one.Get)
	} else {
		got.text, got.err = a.lab.Net.Output(ctx, one.Host, strings.Fields(one.Command)...)
	}
	a.seen[key] = got
	return got
}

// Reproduced counts the listings that are.
func Reproduced(results []listing.Result) int {
	n := 0
	for _, r := range results {
		if r.Status == listing.Reproduced {
			n++
		}
	}
	return n
}
