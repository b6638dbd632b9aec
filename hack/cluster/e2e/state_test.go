// SPDX-License-Identifier: Apache-2.0

//go:build e2e

package e2e

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/ambient22/ambient22/noderoute"
)

const (
	// soon is what is promised for every change: this long after it, nothing of the
	// old state is left.
	soon = time.Second
	// glance is how often such a state is looked at.
	glance = 10 * time.Millisecond
)

// fact is something that can be looked up and that a change makes true or untrue.
type fact struct {
	name string
	is   func(ctx context.Context) (bool, error)
}

// traces are all that a captured pod leaves: in the kernel of its node, in the ztunnel
// there, and at the API server.
func (w *world) traces(namespace string, p pod) []fact {
	ip, node := p.Status.PodIP, p.Spec.NodeName
	return []fact{
		{"set entry", func(ctx context.Context) (bool, error) {
			out, err := inNetwork(ctx, node, "ipset", "list", noderoute.SetName)
			return hasEntry(out, ip), unlessMissing(err)
		}},
		{"route", func(ctx context.Context) (bool, error) {
			out, err := inNetwork(ctx, node, "ip", "route", "show", "table", fmt.Sprint(noderoute.TableInbound))
			return hasEntry(out, ip), unlessMissing(err)
		}},
		{"xDS", func(ctx context.Context) (bool, error) {
			chains, err := w.ztunnel[node].chains(ctx)
			return slices.Contains(chains, "inbound_"+ip), err
		}},
		{"annotation", func(ctx context.Context) (bool, error) {
			return w.api.annotated(ctx, namespace, p.Metadata.Name)
		}},
	}
}

// unlessMissing is no error where a command says that the set or the table is not
// there at all.
func unlessMissing(err error) error {
	if err != nil && strings.Contains(err.Error(), "does not exist") {
		return nil
	}
	return err
}

// hasEntry reports whether a line of a listing starts with that word.
func hasEntry(text, word string) bool {
	for line := range strings.Lines(text) {
		if fields := strings.Fields(line); len(fields) > 0 && fields[0] == word {
			return true
		}
	}
	return false
}

// event is the fact that there is a new event about an object.
func (w *world) event(t *testing.T, namespace, object, reason string) fact {
	t.Helper()
	count := func(ctx context.Context) (n int, err error) {
		found, err := w.api.events(ctx, namespace, object, reason)
		for _, e := range found {
			n += int(max(e.Count, 1))
		}
		return n, err
	}
	before, err := count(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return fact{"event " + reason, func(ctx context.Context) (bool, error) {
		n, err := count(ctx)
		return n > before, err
	}}
}

// gone turns facts into their opposites.
func gone(facts []fact) []fact {
	var all []fact
	for _, f := range facts {
		all = append(all, fact{f.name + " gone", func(ctx context.Context) (bool, error) {
			is, err := f.is(ctx)
			return !is, err
		}})
	}
	return all
}

// times is how long after a moment each fact was so, in the order of the facts.
type times []struct {
	name string
	took time.Duration
}

func (all times) String() string {
	var parts []string
	for _, one := range all {
		parts = append(parts, fmt.Sprintf("%s %d ms", one.name, one.took.Milliseconds()))
	}
	return strings.Join(parts, ", ")
}

// slowest is the time of the last.
func (all times) slowest() time.Duration {
	var most time.Duration
	for _, one := range all {
		most = max(most, one.took)
	}
	return most
}

// await waits until all facts are so, each by itself, and measures from a moment on.
func await(t *testing.T, from time.Time, facts []fact) times {
	t.Helper()
	all := make(times, len(facts))
	errs := make([]error, len(facts))
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	var waiting sync.WaitGroup
	for n, f := range facts {
		waiting.Go(func() {
			all[n].name = f.name
			errs[n] = poll(ctx, f)
			all[n].took = time.Since(from)
		})
	}
	waiting.Wait()
	if err := errors.Join(errs...); err != nil {
		t.Fatal(err)
	}
	return all
}

func poll(ctx context.Context, f fact) error {
	for {
		is, err := f.is(ctx)
		if is && err == nil {
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("waiting for %s: %w", f.name, errors.Join(err, ctx.Err()))
		case <-time.After(glance):
		}
	}
}

// merge makes one fact of facts of the same name, true when all are.
func merge(facts []fact) []fact {
	var order []string
	byName := map[string][]fact{}
	for _, f := range facts {
		if byName[f.name] == nil {
			order = append(order, f.name)
		}
		byName[f.name] = append(byName[f.name], f)
	}
	var merged []fact
	for _, name := range order {
		merged = append(merged, fact{name, func(ctx context.Context) (bool, error) {
			for _, f := range byName[name] {
				if is, err := f.is(ctx); !is || err != nil {
					return false, err
				}
			}
			return true, nil
		}})
	}
	return merged
}

// chains are the names of the chains of a ztunnel's inbound listener, as it has them.
func (i *inPod) chains(ctx context.Context) ([]string, error) {
	var dump struct {
		Configs []struct {
			Name        string
			ActiveState struct {
				Listener struct {
					FilterChains []struct{ Name string } `json:"filter_chains"`
				}
			} `json:"active_state"`
		}
	}
	if err := i.admin(ctx, "/config_dump?resource=dynamic_listeners&name_regex=ztunnel_inbound", &dump); err != nil {
		return nil, err
	}
	var names []string
	for _, c := range dump.Configs {
		for _, chain := range c.ActiveState.Listener.FilterChains {
			names = append(names, chain.Name)
		}
	}
	return names, nil
}

// admin asks a ztunnel, in its pod, for JSON.
func (i *inPod) admin(ctx context.Context, path string, into any) error {
	text, err := fetch(ctx, i.http, "http://127.0.0.1:15000"+path)
	if err == nil {
		err = json.Unmarshal([]byte(text), into)
	}
	if err != nil {
		return fmt.Errorf("asking the ztunnel for %s: %w", path, err)
	}
	return nil
}
