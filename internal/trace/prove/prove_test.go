// SPDX-License-Identifier: Apache-2.0

package prove

import (
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"
)

// sample is how many packets an ordinary test run compares with each seed.
const sample = 2000

// TestEngineAgainstKernel is a sample of what hack/prove.sh does: with a seed that is
// always the same, and with another one each time.
func TestEngineAgainstKernel(t *testing.T) {
	for _, seed := range []uint64{1, rand.Uint64()>>32 + 1} {
		t.Logf("seed %d", seed)
		report, err := Run(t.Context(), Options{Seed: seed, Packets: sample, Minimise: 30 * time.Second})
		if err != nil {
			t.Fatalf("seed %d: %v", seed, err)
		}
		t.Log(report.Text())
		if report.Found != nil {
			t.Errorf("seed %d: the engine differs from the kernel", seed)
		}
	}
}

// The proof is worth something only if it sees differences: here the kernel's world
// is another one than the engine is told of.
func TestDifferencesAreSeen(t *testing.T) {
	changes := []struct {
		name   string
		change func(*World)
		seen   string // how the difference begins
	}{
		{"a rule", func(w *World) { drop(&w.Tables[1].Rules, "-j TPROXY --on-port 15001") }, "verdict:"},
		{"a mark's bit", func(w *World) {
			replace(&w.Tables[1].Rules, "--set-xmark 0x4d3/0xfff", "--set-xmark 0x4d2/0xfff")
		}, "mark:"},
		{"a route", func(w *World) { drop(&w.Routes, "default via 10.4.4.1") }, "verdict:"},
		{"an ip rule", func(w *World) { drop(&w.Rules, "fwmark 0x400/0xfff") }, "verdict:"},
		{"a table that says the same", func(w *World) {
			replace(&w.Rules, "lookup 100", "lookup 105")
			replace(&w.Routes, "table 100", "table 105")
		}, "route:"},
		{"a rule that only counts", func(w *World) { drop(&w.Tables[1].Rules, "-j LOG") }, "counters:"},
	}
	for _, c := range changes {
		t.Run(c.name, func(t *testing.T) {
			w, s := logging(t)
			other := w.clone()
			c.change(&other)
			trial, err := runOther(t.Context(), w, other, &traffic{scene: s, left: 400})
			if err != nil {
				t.Fatal(err)
			}
			if !slices.ContainsFunc(trial.Differences, func(d string) bool { return strings.HasPrefix(d, c.seen) }) {
				t.Errorf("differences %q, want one of %q", trial.Differences, c.seen)
			}
		})
	}
}

// logging is a ztunnel pod with the LOG rule.
func logging(t *testing.T) (World, *scene) {
	t.Helper()
	for seed := range uint64(20) {
		w, s, err := pod(seed)
		if err != nil {
			t.Fatal(err)
		}
		if strings.Contains(restore(w.Tables), "-j LOG") {
			return w, s
		}
	}
	t.Fatal("no ztunnel pod with a LOG rule")
	return World{}, nil
}

// drop leaves out the lines with those words.
func drop(list *[]string, words string) {
	*list = slices.DeleteFunc(slices.Clone(*list), func(line string) bool { return strings.Contains(line, words) })
}

func replace(list *[]string, old, new string) {
	*list = slices.Clone(*list)
	for i, line := range *list {
		(*list)[i] = strings.ReplaceAll(line, old, new)
	}
}
