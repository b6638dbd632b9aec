// SPDX-License-Identifier: Apache-2.0

package adsclient

import (
	"context"

	"fmt"
	"log/slog"
	"math/rand/v2"
	"sort"
	"strings"
	"sync"
	"time"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	"google.golang.org/grpc"
	"google.golang.org/protobuf/types/known/anypb"
)

// Resource is one received resource.
type Resource struct {
	Name    string
	Version string
	Body    *anypb.Any
}

// Update is one response.
type Update struct {
	TypeURL string
	Version string // of the whole response, for people
	// Resources are new or changed. With Full they are all that the server has of
	// this type and these names, also those that did not change.
	Resources []Resource
	Full      bool
	Removed   []string // incremental only
}

// Refusal says why a resource was not taken. Name is empty for a reason that
// concerns the whole response.
type Refusal struct {
	Name string
	Err  error
}

// Handler takes responses, one at a time per client.
type Handler interface {
	// Update puts the response into effect and returns what it refused of it.
	Update(u *Update) []Refusal
	// Connected tells that a stream was opened or lost.
	Connected(up bool)
}

// Service is a gRPC method of the xDS protocol.
type Service struct{ Full, Delta string }

// The services.
var (
	ADS = Service{
		Full:  "/envoy.service.discovery.v3.AggregatedDiscoveryService/StreamAggregatedResources",
		Delta: "/envoy.service.discovery.v3.AggregatedDiscoveryService/DeltaAggregatedResources",
	}
	SDS = Service{
		Full:  "/envoy.service.secret.v3.SecretDiscoveryService/StreamSecrets",
		Delta: "/envoy.service.secret.v3.SecretDiscoveryService/DeltaSecrets",
	}
)

// Config is what a Client needs.
type Config struct {
	Conn    grpc.ClientConnInterface
	Service Service
	Delta   bool // incremental protocol
	Node    *corev3.Node
	// NodeOnce sends the node on a stream's first message only.
	NodeOnce bool
	Handler  Handler
	Logger   *slog.Logger
}

// Client is one subscription stream that is kept alive.
type Client struct {
	cfg     Config
	changed chan struct{} // capacity 1: subscriptions changed

	mu    sync.Mutex
	types map[string]*typeState
	order []string // type URLs as first subscribed
}

// typeState is what a client asks for and has of one type. Its names, and whether
// they changed, are guarded by the client's mu, the rest belongs to the goroutine
// of Run.
type typeState struct {
	url      string
	wildcard bool
	wanted   map[string]bool
	changed  bool              // wanted is not what was asked for
	version  string            // state of the world: the last accepted
	have     map[string]string // incremental: accepted versions by name

	// Per stream.
	asked   map[string]bool // nil: nothing was asked yet
	nonce   string
	refused string        // the version of the last response, if it was refused
	pause   time.Duration // before it is refused once more
}

// New makes a client; Run starts it.
func New(cfg Config) *Client {
	return &Client{cfg: cfg, changed: make(chan struct{}, 1), types: make(map[string]*typeState)}
}

// Subscribe sets the names that are wanted of a type, in place of those wanted
// before; nil names want everything. It may be called from a Handler.
func (c *Client) Subscribe(typeURL string, names []string) {
	c.mu.Lock()
	t := c.types[typeURL]
	if t == nil {
		t = &typeState{url: typeURL, have: make(map[string]string)}
		c.types[typeURL] = t
		c.order = append(c.order, typeURL)
	}
	t.wildcard, t.changed = names == nil, true
	t.wanted = make(map[string]bool, len(names))
	for _, n := range names {
		t.wanted[n] = true
	}
	c.mu.Unlock()
	select {
	case c.changed <- struct{}{}:
	default:
	}
}

// Backoff between streams: quick at first, for a control plane that restarts.
const (
	firstPause = 100 * time.Millisecond
	lastPause  = 5 * time.Second
)

// Run keeps the stream open until ctx ends.
func (c *Client) Run(ctx context.Context) {
	pause := firstPause
	for ctx.Err() == nil {
		began := time.Now()
		err := c.stream(ctx)
		if ctx.Err() != nil {
			return
		}
		if time.Since(began) > lastPause {
			pause = firstPause
		}
		c.cfg.Logger.Warn("control plane stream ended", "error", err, "retry_in", pause)
		select {
		case <-time.After(pause/2 + rand.N(pause/2)):
		case <-ctx.Done():
			return
		}
		pause = min(2*pause, lastPause)
	}
}

// stream runs one stream to its end.
func (c *Client) stream(ctx context.Context) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	w, err := c.open(ctx)
	if err != nil {
		return fmt.Errorf("opening stream: %w", err)
	}
	c.cfg.Handler.Connected(true)
	defer c.cfg.Handler.Connected(false)
	c.forget()
	responses, failed, late := make(chan *response), make(chan error, 1), make(chan func() error)
	go func() {
		for {
			r, err := w.receive()
			if err != nil {
				failed <- err
				return
			}
			select {
			case responses <- r:
			case <-ctx.Done():
				return
			}
		}
	}()
	if err := c.ask(w); err != nil {
		return err
	}
	for {
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case err := <-failed:
			return err
		case <-c.changed:
		case r := <-responses:
			if err := c.handle(ctx, w, r, late); err != nil {
				return err
			}
		case answer := <-late:
			if err := answer(); err != nil {
				return err
			}
		}
		if err := c.ask(w); err != nil {
			return err
		}
	}
}

// forget drops what belonged to the last stream.
func (c *Client) forget() {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, t := range c.types {
		t.asked, t.changed, t.nonce, t.refused, t.pause = nil, true, "", "", 0
	}
}

// ask sends what changed in the subscriptions.
func (c *Client) ask(w wire) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, url := range c.order {
		t := c.types[url]
		if !t.changed {
			continue // comparing a hundred thousand names takes its time
		}
		t.changed = false
		if err := w.subscribe(t); err != nil {
			return fmt.Errorf("subscribing to %s: %w", url, err)
		}
	}
	return nil
}

// handle puts one response into effect and answers it. Answers that are due
// later go to late.
func (c *Client) handle(ctx context.Context, w wire, r *response, late chan<- func() error) error {
	c.mu.Lock()
	t := c.types[r.update.TypeURL]
	c.mu.Unlock()
	if t == nil {
		return fmt.Errorf("response of type %q, which was not asked for", r.update.TypeURL)
	}
	refused := c.cfg.Handler.Update(&r.update)
	t.nonce = r.nonce
	t.accept(&r.update, refused)
	message := describe(refused)
	answer := func() error {
		c.mu.Lock()
		defer c.mu.Unlock()
		if err := w.answer(t, message); err != nil {
			return fmt.Errorf("answering %s: %w", t.url, err)
		}
		return nil
	}
	pause := t.pace(&r.update, message != "")
	if message != "" && pause == 0 {
		c.cfg.Logger.Error("refusing configuration", "type", t.url, "version", r.update.Version, "error", message)
	}
	if pause == 0 {
		return answer()
	}
	go func() {
		select {
		case <-time.After(pause):
		case <-ctx.Done():
			return
		}
		select {
		case late <- answer:
		case <-ctx.Done():
		}
	}()
	return nil
}

// pace is how long to wait before a refusal is sent. A server that answers each
// refusal with the same thing again would otherwise keep both sides busy.
func (t *typeState) pace(u *Update, refused bool) time.Duration {
	switch {
	case !refused:
		t.refused, t.pause = "", 0
	case t.refused != u.Version || u.Version == "":
		t.refused, t.pause = u.Version, 0
	default:
		t.pause = min(max(2*t.pause, firstPause), time.Second)
	}
	return t.pause
}

// accept notes what is held now.
func (t *typeState) accept(u *Update, refused []Refusal) {
	bad := make(map[string]bool)
	for _, r := range refused {
		bad[r.Name] = true
	}
	for _, r := range u.Resources {
		if !bad[r.Name] && !bad[""] {
			t.have[r.Name] = r.Version
		}
	}
	for _, name := range u.Removed {
		delete(t.have, name)
	}
	if len(refused) == 0 {
		t.version = u.Version
	}
}

// describe is the error_detail of a NACK.
func describe(refused []Refusal) string {
	lines := make([]string, 0, len(refused))
	for _, r := range refused {
		if r.Name == "" {
			lines = append(lines, r.Err.Error())
		} else {
			lines = append(lines, fmt.Sprintf("%s: %v", r.Name, r.Err))
		}
	}
	return strings.Join(lines, "\n")
}

func sortedNames(names map[string]bool) []string {
	out := make([]string, 0, len(names))
	for n := range names {
		out = append(out, n)
	}
	sort.Strings(out)
	return out
}
