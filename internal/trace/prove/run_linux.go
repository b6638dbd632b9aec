// SPDX-License-Identifier: Apache-2.0

package prove

import (
	"context"
	"fmt"

	"github.com/ambient22/ambient22/internal/dump"
	"github.com/ambient22/ambient22/internal/dump/iptsave"
	"github.com/ambient22/ambient22/internal/trace"
)

// Trial is what running one world came to.
type Trial struct {
	World   World
	Archive *dump.Archive
	// Compared are the packets that engine and kernel agreed on, Doubted those that the
	// engine said it could not be sure of.
	Compared, Doubted int
	Doubts            map[string]int
	Verdicts          map[string]int
	// Probes are those that were sent, up to the first difference.
	Probes      []Probe
	Differences []string
	Walk        *trace.Walk // of the packet that went differently
	Seen        string      // what the kernel did with it
}

// source gives a run its packets. after is called with where each came to.
type source interface {
	next() (Probe, bool)
	after(ended bool, end trace.Packet, out string)
}

// run builds a world and sends it packets until one goes another way than the
// engine says.
func run(ctx context.Context, w World, packets source) (*Trial, error) {
	trial := &Trial{World: w, Verdicts: map[string]int{}, Doubts: map[string]int{}}
	err := inside(ctx, w, func(k *kernel) error {
		space, err := k.load(ctx, trial)
		if err != nil {
			return err
		}
		if err := k.watch(ctx); err != nil {
			return err
		}
		return k.compare(ctx, trial, space, packets)
	})
	if err != nil {
		return trial, fmt.Errorf("running %s: %w", w.Name, err)
	}
	return trial, nil
}

// load reads the world back and gives it to the engine.
func (k *kernel) load(ctx context.Context, trial *Trial) (*trace.Space, error) {
	var err error
	if trial.Archive, err = k.archive(ctx); err != nil {
		return nil, err
	}
	node, err := trial.Archive.Parse()
	if err != nil {
		return nil, err
	}
	k.links = node.Host.Links
	if k.save = node.Host.NFT; k.world.Variant == "legacy" {
		k.save = node.Host.Legacy
	}
	var sockets []trace.Socket
	for _, port := range k.world.Listeners {
		sockets = append(sockets, listening(port)...)
	}
	space, err := trace.Compile(node.Host, trace.Sockets(sockets...))
	if err != nil {
		return nil, fmt.Errorf("compiling the dump: %w", err)
	}
	return space, nil
}

// compare is the loop. It ends with the first difference.
func (k *kernel) compare(ctx context.Context, trial *Trial, space *trace.Space, packets source) error {
	conns := trace.NewConns()
	counted := map[*iptsave.Rule]uint64{}
	tracking := false
	var walk *trace.Walk // the last packet's
	var seen string
	for {
		p, ok := packets.next()
		if !ok {
			break
		}
		trial.Probes = append(trial.Probes, p)
		o, err := k.try(p)
		if err != nil {
			return err
		}
		w := &trace.Walk{Record: true}
		if p.In != "" {
			space.Receive(p.Packet, conns, w)
		} else {
			space.Send(p.Packet, conns, w)
		}
		for _, s := range w.Steps {
			if s.Kind == trace.StepRule && s.Matched {
				counted[s.Rule]++
			}
		}
		got := k.outcome(p, o)
		walk, seen = w, k.words(o)
		arrived := len(got.verdicts) == 1 && (got.verdicts[0] == trace.Sent || got.verdicts[0] == trace.Delivered)
		packets.after(arrived, got.packet, got.out)
		if w.Verdict == trace.Unknown || len(w.Doubt) > 0 {
			trial.Doubted++
			for _, d := range w.Doubt {
				trial.Doubts[d]++
			}
			if conns, err = k.connections(ctx); err != nil {
				return err
			}
			continue
		}
		tracking = tracking || o.connected
		differences := compare(w, got)
		if tracking {
			differences = append(differences, compareConn(conns, p, o)...)
		}
		if len(differences) > 0 {
			trial.Differences, trial.Walk, trial.Seen = differences, walk, seen
			return nil
		}
		trial.Compared++
		trial.Verdicts[verdictName(w.Verdict)]++
	}
	if trial.Doubted > 0 {
		return nil
	}
	after, err := k.counters(ctx)
	if err == nil {
		trial.Differences, trial.Walk, trial.Seen = compareCounters(k.save, after, counted), walk, seen
	}
	return err
}
