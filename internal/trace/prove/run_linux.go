// SPDX-License-Identifier: Apache-2.0

package prove

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/ambient22/ambient22/internal/dump"
	"github.com/ambient22/ambient22/internal/dump/iproute"
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
	Walk        *trace.Walk   // of the packet that went differently
	Seen        func() string // what the kernel did with it
}

// source gives a run its packets. after is called with where each came to.
type source interface {
	next() (Probe, bool)
	after(ended bool, end trace.Packet, out string)
}

// told is what the engine was told of a world.
type told struct {
	archive *dump.Archive
	space   *trace.Space
	save    *iptsave.Save // the rules as the dump has them
	links   []*iproute.Link
}

// run builds a world and sends it packets until one goes another way than the
// engine says.
func run(ctx context.Context, w World, packets source) (*Trial, error) {
	trial := newTrial(w)
	err := inside(ctx, w, func(k *kernel) error {
		t, err := k.tell(ctx)
		if err != nil {
			return err
		}
		return k.compare(ctx, trial, t, packets)
	})
	if err != nil {
		return trial, fmt.Errorf("running %s: %w", w.Name, err)
	}
	return trial, nil
}

// runOther is run with an engine that was told of another world.
func runOther(ctx context.Context, engine, kernels World, packets source) (*Trial, error) {
	trial := newTrial(engine)
	var t *told
	err := inside(ctx, engine, func(k *kernel) (err error) {
		t, err = k.tell(ctx)
		return err
	})
	if err == nil {
		err = inside(ctx, kernels, func(k *kernel) error { return k.compare(ctx, trial, t, packets) })
	}
	return trial, err
}

func newTrial(w World) *Trial {
	return &Trial{World: w, Verdicts: map[string]int{}, Doubts: map[string]int{}}
}

// tell reads the world back and gives it to the engine.
func (k *kernel) tell(ctx context.Context) (*told, error) {
	archive, err := k.archive(ctx)
	if err != nil {
		return nil, err
	}
	node, err := archive.Parse()
	if err != nil {
		return nil, err
	}
	t := &told{archive: archive, links: node.Host.Links, save: node.Host.NFT}
	if k.world.Variant == "legacy" {
		t.save = node.Host.Legacy
	}
	var sockets []trace.Socket
	for _, port := range k.world.Listeners {
		sockets = append(sockets, listening(port)...)
	}
	t.space, err = trace.Compile(node.Host, trace.Sockets(sockets...))
	if err != nil {
		return nil, fmt.Errorf("compiling the dump: %w", err)
	}
	return t, nil
}

// comparison is one run of packets through both.
type comparison struct {
	*kernel
	*told
	trial    *Trial
	conns    *trace.Conns
	counted  map[*iptsave.Rule]uint64 // packets that matched in the engine
	tracking bool                     // the kernel has shown connections
}

// compare is the loop. It ends with the first difference.
func (k *kernel) compare(ctx context.Context, trial *Trial, t *told, packets source) error {
	trial.Archive = t.archive
	if err := k.watch(ctx); err != nil {
		return err
	}
	c := comparison{kernel: k, told: t, trial: trial, conns: trace.NewConns(), counted: map[*iptsave.Rule]uint64{}}
	masquerades := strings.Contains(t.save.String(), "-j MASQUERADE")
	for p, ok := packets.next(); ok && len(trial.Differences) == 0; p, ok = packets.next() {
		trial.Probes = append(trial.Probes, p)
		got, err := c.packet(ctx, p)
		if err != nil {
			return err
		}
		packets.after(got.arrived(), got.packet, got.out)
		if trial.Doubted > 0 && masquerades {
			break // no list of connections has the device that MASQUERADE chose an address of
		}
	}
	if len(trial.Differences) > 0 {
		return nil
	}
	return c.counters(ctx)
}

// packet gives both a packet.
func (c *comparison) packet(ctx context.Context, p Probe) (outcome, error) {
	w := &trace.Walk{Record: true}
	if p.In != "" {
		c.space.Receive(p.Packet, c.conns, w)
	} else {
		c.space.Send(p.Packet, c.conns, w)
	}
	sure := w.Verdict != trace.Unknown && !slices.ContainsFunc(w.Doubt, c.open)
	indifferent := slices.ContainsFunc(w.Doubt, settled) || slices.ContainsFunc(w.Steps, unjudged)
	if !sure || indifferent {
		if err := c.counters(ctx); err != nil || len(c.trial.Differences) > 0 {
			return outcome{}, err
		}
	}
	o, err := c.try(p)
	if err != nil {
		return outcome{}, err
	}
	p = o.probe
	got := readOutcome(p, o)
	c.trial.Walk, c.trial.Seen = w, func() string { return words(o, c.links) }
	if !sure {
		return got, c.doubted(ctx, w)
	}
	for _, s := range w.Steps {
		if s.Kind == trace.StepRule && s.Matched {
			c.counted[s.Rule]++
		}
	}
	c.tracking = c.tracking || o.connected
	differences := compare(w, got)
	if !indifferent {
		differences = append(differences, compareRoute(w, o)...)
	}
	if c.tracking {
		differences = append(differences, compareConn(c.conns, p, o)...)
	}
	if c.trial.Differences = differences; len(differences) == 0 {
		c.trial.Compared++
		c.trial.Verdicts[verdictName(w.Verdict)]++
	}
	if indifferent { // the packet's way is sure, and not which rules counted it
		err = c.adoptCounters(ctx)
	}
	return got, err
}

// open tells that a doubt leaves open what the packet does. What makes no difference
// does not: it is a claim like any other. Nor does an nth counter, which begins with a
// world's first packet, for as long as the engine knows them all.
func (c *comparison) open(doubt string) bool {
	nth := strings.HasPrefix(doubt, "how far an nth counter has got") && c.trial.Doubted == 0
	return !nth && !settled(doubt)
}

// settled tells that the engine says of a doubt that all ways end alike.
func settled(doubt string) bool { return strings.HasSuffix(doubt, "it makes no difference here") }

// unjudged tells of a rule that may have matched or not, and changes nothing.
func unjudged(s trace.Step) bool {
	return strings.HasPrefix(s.Note, "a condition cannot be judged") || s.Rule != nil && slices.ContainsFunc(s.Rule.Matches, byChance)
}

func byChance(m iptsave.Match) bool {
	switch m := m.(type) {
	case iptsave.Statistic:
		return m.Mode == "random"
	case iptsave.Limit:
		return true
	}
	return strings.HasPrefix(m.String(), "-m hashlimit")
}

// doubted goes on from what the kernel has, after a packet that the engine could not
// be sure of.
func (c *comparison) doubted(ctx context.Context, w *trace.Walk) error {
	c.trial.Doubted++
	for _, d := range w.Doubt {
		c.trial.Doubts[d]++
	}
	var err error
	if c.conns, err = c.connections(ctx); err != nil {
		return err
	}
	return c.adoptCounters(ctx)
}

// adoptCounters goes on from the kernel's.
func (c *comparison) adoptCounters(ctx context.Context) error {
	now, err := c.saved(ctx)
	if err != nil {
		return err
	}
	eachRule(c.save, now, func(_ string, r *iptsave.Rule, kernel *iptsave.Counters) {
		if kernel != nil {
			c.counted[r] = kernel.Packets
		}
	})
	return nil
}

// counters compares those of all rules.
func (c *comparison) counters(ctx context.Context) error {
	now, err := c.saved(ctx)
	if err == nil {
		c.trial.Differences = compareCounters(c.save, now, c.counted)
	}
	return err
}
