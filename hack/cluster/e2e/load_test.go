// SPDX-License-Identifier: Apache-2.0

//go:build e2e

package e2e

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

// load is a stream of requests at an even rate, each on a new connection, whatever
// becomes of the ones before it.
type load struct {
	name string
	stop context.CancelFunc
	done chan struct{}

	mu   sync.Mutex
	made []request
}

// request is one of them.
type request struct {
	start time.Time
	took  time.Duration
	plain bool // the server saw the caller's own address: no proxy was between them
	err   error
}

// load starts requests from a pod to the page at an address, so many in a second.
func (i *inPod) load(ctx context.Context, name, address string, rate int) *load {
	ctx, stop := context.WithCancel(ctx)
	l := &load{name: name, stop: stop, done: make(chan struct{})}
	go func() {
		defer close(l.done)
		var open sync.WaitGroup
		defer open.Wait()
		next := time.NewTicker(time.Second / time.Duration(rate))
		defer next.Stop()
		for {
			select {
			case <-ctx.Done():
				return
			case <-next.C:
			}
			// Not with ctx: what was begun is seen through.
			open.Go(func() { l.one(context.WithoutCancel(ctx), i, "http://"+address+"/productpage") })
		}
	}()
	return l
}

func (l *load) one(ctx context.Context, i *inPod, url string) {
	r := request{start: time.Now()}
	page, err := fetch(ctx, i.http, url)
	r.err, r.took = err, time.Since(r.start)
	r.plain = strings.Contains(page, "seen here: "+i.Status.PodIP+":")
	l.mu.Lock()
	defer l.mu.Unlock()
	l.made = append(l.made, r)
}

// fetch returns the content behind a URL, which must be there.
func fetch(ctx context.Context, client *http.Client, url string) (string, error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return "", err
	}
	response, err := client.Do(request)
	if err != nil {
		return "", err
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	if err == nil && response.StatusCode != http.StatusOK {
		err = errors.New(response.Status)
	}
	return string(body), err
}

// settled waits until requests begun from now on have been answered.
func (l *load) settled(t *testing.T) {
	t.Helper()
	now := time.Now()
	eventually(t, "answers", func() error {
		o := l.between(now, time.Now())
		if good := len(o.requests) - len(o.failed); good < 10 {
			return fmt.Errorf("there were %d", good)
		}
		return nil
	})
}

// end stops a load, waits for what is open, and returns what was made of it.
func (l *load) end() outcome {
	l.stop()
	<-l.done
	return l.between(time.Time{}, time.Now())
}

// outcome is what became of requests.
type outcome struct {
	name     string
	requests []request // by their start
	failed   []request
	plain    int // how many of them no proxy saw
}

// between are the requests that started in a span of time and have ended.
func (l *load) between(from, to time.Time) outcome {
	l.mu.Lock()
	defer l.mu.Unlock()
	o := outcome{name: l.name}
	for _, r := range l.made {
		if r.start.Before(from) || r.start.After(to) {
			continue
		}
		o.requests = append(o.requests, r)
	}
	slices.SortFunc(o.requests, func(a, b request) int { return a.start.Compare(b.start) })
	for _, r := range o.requests {
		if r.err != nil {
			o.failed = append(o.failed, r)
		}
		if r.plain {
			o.plain++
		}
	}
	return o
}

// rate is how many requests were begun in a second.
func (o outcome) rate() float64 {
	if len(o.requests) < 2 {
		return 0
	}
	return float64(len(o.requests)-1) / o.requests[len(o.requests)-1].start.Sub(o.requests[0].start).Seconds()
}

// slow is how long the slowest of so many hundredths of the requests that succeeded
// took.
func (o outcome) slow(percent int) time.Duration {
	var all []time.Duration
	for _, r := range o.requests {
		if r.err == nil {
			all = append(all, r.took)
		}
	}
	if len(all) == 0 {
		return 0
	}
	slices.Sort(all)
	return all[(len(all)-1)*percent/100]
}

func (o outcome) String() string {
	text := fmt.Sprintf("%s: %d requests (%.0f/s), %d failed, p50 %d ms, p99 %d ms, slowest %d ms", o.name, len(o.requests), o.rate(),
		len(o.failed), o.slow(50).Milliseconds(), o.slow(99).Milliseconds(), o.slow(100).Milliseconds())
	if len(o.failed) > 0 {
		text += fmt.Sprintf("; the first: %v", o.failed[0].err)
	}
	return text
}

// since is how long after a moment the last failed request was begun, 0 where none
// failed.
func (o outcome) since(moment time.Time) time.Duration {
	if len(o.failed) == 0 {
		return 0
	}
	return o.failed[len(o.failed)-1].start.Sub(moment)
}

// stream is a connection that is open for long and says something now and then.
type stream struct {
	stop  context.CancelFunc
	ended chan struct{}
	err   error     // why it was lost, nil where it was not
	at    time.Time // when
	words int       // that came back
}

// sayEvery is how often a stream says something.
const sayEvery = 50 * time.Millisecond

// stream opens one from a pod to an echo.
func (i *inPod) stream(ctx context.Context, address string) (*stream, error) {
	conn, err := i.dial(ctx, "tcp4", address)
	if err != nil {
		return nil, err
	}
	ctx, stop := context.WithCancel(ctx)
	s := &stream{stop: stop, ended: make(chan struct{})}
	go func() {
		defer close(s.ended)
		defer conn.Close()
		next := time.NewTicker(sayEvery)
		defer next.Stop()
		word := []byte("word")
		for s.err == nil {
			select {
			case <-ctx.Done():
				return
			case <-next.C:
			}
			_ = conn.SetDeadline(time.Now().Add(callTimeout)) // else the read says so
			if _, s.err = conn.Write(word); s.err == nil {
				_, s.err = io.ReadFull(conn, word)
			}
			if s.err == nil {
				s.words++
			}
		}
		s.at = time.Now()
	}()
	return s, nil
}

// end closes a stream and returns why it was lost before, if it was.
func (s *stream) end() error {
	s.stop()
	<-s.ended
	return s.err
}
