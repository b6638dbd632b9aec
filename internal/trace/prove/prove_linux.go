// SPDX-License-Identifier: Apache-2.0

package prove

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"
)

// Options are those of Run.
type Options struct {
	// Seed makes the same worlds and packets again.
	Seed uint64
	// Packets is how many have to be compared, at least.
	Packets int
	// PerWorld is how many each world gets; 0 stands for 250.
	PerWorld int
	// Parallel is how many worlds there are at a time; 0 stands for 2.
	Parallel int
	// Kind and World choose one world alone ("random", "node", "pod", "strange", and the number in
	// its name). Kind is "" otherwise.
	Kind  string
	World uint64
	// Minimise bounds the search for a smaller example of a difference; 0: none.
	Minimise time.Duration
	// Progress gets a line for each world; nil: none.
	Progress io.Writer
}

// Report is what Run came to.
type Report struct {
	Worlds, Compared, Doubted int
	Verdicts, Doubts          map[string]int
	Took                      time.Duration
	// Found is the first trial with a difference, made small; nil where there was none.
	Found *Trial
}

// maker makes worlds from seeds.
type maker func(seed uint64) (World, *scene, error)

func makers() map[string]maker {
	return map[string]maker{"random": random, "node": host, "pod": pod, "strange": strange}
}

// order is which kinds of worlds take turns.
var order = [...]string{"random", "random", "random", "node", "random", "random", "pod", "random", "random", "strange"}

// Run makes worlds and compares engine and kernel in each, until enough packets
// were compared or one went another way. The error is about the proof itself: a
// world that could not be built.
func Run(ctx context.Context, o Options) (*Report, error) {
	if o.PerWorld == 0 {
		o.PerWorld = 250
	}
	if o.Parallel == 0 {
		o.Parallel = 2
	}
	start := time.Now()
	r := &Report{Verdicts: map[string]int{}, Doubts: map[string]int{}}
	work, stop := context.WithCancel(ctx)
	defer stop()
	var lock sync.Mutex
	var failed []error
	var found *Trial
	next := 0
	// turn is the number of the next world, false where no more are needed.
	turn := func() (int, bool) {
		lock.Lock()
		defer lock.Unlock()
		enough := r.Compared >= o.Packets || o.Kind != "" && next > 0
		next++
		return next - 1, !enough && work.Err() == nil
	}
	var workers sync.WaitGroup
	for range o.Parallel {
		workers.Go(func() {
			for n, ok := turn(); ok; n, ok = turn() {
				trial, err := o.world(work, n)
				lock.Lock()
				if err != nil && work.Err() == nil {
					failed = append(failed, err)
				}
				if err == nil {
					r.add(trial, o.Progress)
				}
				if err == nil && len(trial.Differences) > 0 && found == nil {
					found = trial
				}
				if err != nil || found != nil {
					stop()
				}
				lock.Unlock()
			}
		})
	}
	workers.Wait()
	r.Took = time.Since(start)
	if found != nil && o.Minimise > 0 {
		small, cancel := context.WithTimeout(ctx, o.Minimise)
		defer cancel()
		found = minimise(small, found)
	}
	r.Found = found
	return r, errors.Join(append(failed, ctx.Err())...)
}

// world runs the nth world.
func (o Options) world(ctx context.Context, n int) (*Trial, error) {
	kind, seed := order[n%len(order)], mix(o.Seed, uint64(n))
	if o.Kind != "" {
		kind, seed = o.Kind, o.World
	}
	build := makers()[kind]
	if build == nil {
		return nil, fmt.Errorf("making a world: there is no kind %q", kind)
	}
	w, s, err := build(seed)
	if err != nil {
		return nil, err
	}
	packets := o.PerWorld
	if kind == "strange" {
		packets /= 5 // after each doubt the kernel has to be asked
	}
	return run(ctx, w, &traffic{scene: s, left: packets})
}

// mix makes a world's number from the seed and its turn.
func mix(seed, n uint64) uint64 { return newDice(seed<<20^n).Uint64() >> 32 }

func (r *Report) add(t *Trial, progress io.Writer) {
	r.Worlds++
	r.Compared += t.Compared
	r.Doubted += t.Doubted
	for verdict, n := range t.Verdicts {
		r.Verdicts[verdict] += n
	}
	for doubt, n := range t.Doubts {
		about, _, _ := strings.Cut(doubt, ": -A")
		r.Doubts[about] += n
	}
	if progress != nil {
		fmt.Fprintf(progress, "%s (iptables-%s): %d packets alike, %d in doubt, %d differences\n", t.World.Name, t.World.Variant, t.Compared, t.Doubted, len(t.Differences))
	}
}

// Text is the report for people.
func (r *Report) Text() string {
	s := fmt.Sprintf("%d packets in %d worlds went as the engine says; of %d more it said that it can't be sure; %.1f s, %.0f packets/s\n",
		r.Compared, r.Worlds, r.Doubted, r.Took.Seconds(), float64(r.Compared+r.Doubted)/r.Took.Seconds())
	for _, v := range slices.Sorted(maps.Keys(r.Verdicts)) {
		s += fmt.Sprintf("  %-11s %d\n", v, r.Verdicts[v])
	}
	for _, d := range slices.Sorted(maps.Keys(r.Doubts)) {
		s += fmt.Sprintf("  in doubt    %d: %s\n", r.Doubts[d], d)
	}
	if r.Found != nil {
		s += "DIFFERENCE in " + r.Found.Text()
	}
	return s
}
