// SPDX-License-Identifier: Apache-2.0

package live

import (
	"errors"
	"fmt"
	"sync"
)

// Watcher traces in one namespace.
type Watcher struct {
	space    Space
	table    *table
	listener *listener
	logger   *logger
	capture  *capture
	devices  map[int]string
	// Doubts are what this watcher cannot see, and why.
	Doubts []string

	done sync.WaitGroup
	mu   sync.Mutex
	errs []error
}

// Watch begins to trace. From its return on everything that the filter names is
// handed to fn, from several goroutines, until Close.
func Watch(s Space, f *Filter, fn func(Event)) (*Watcher, error) {
	devices, err := s.devices()
	if err != nil {
		return nil, err
	}
	w := &Watcher{space: s, devices: devices}
	if err := s.Do(func() error { return w.open(f) }); err != nil {
		return nil, errors.Join(fmt.Errorf("tracing in %s: %w", s.Name, err), w.Close())
	}
	named := func(e Event) {
		e.Space = s.Name
		fn(e)
	}
	w.done.Add(2)
	go func() {
		defer w.done.Done()
		lost, err := w.listener.receive(named)
		if lost > 0 {
			err = errors.Join(err, fmt.Errorf("%d times: %w", lost, errLost))
		}
		w.note(err)
	}()
	go func() {
		defer w.done.Done()
		w.note(w.capture.receive(named))
	}()
	return w, nil
}

// open opens everything in the thread's namespace. The table comes last: what it
// lets the kernel tell must be heard.
func (w *Watcher) open(f *Filter) (err error) {
	if w.listener, err = openListener(); err != nil {
		return err
	}
	if w.capture, err = openCapture(f, w.devices); err != nil {
		return err
	}
	why := w.listener.noLegacy
	if why == nil {
		w.logger, why = setLogger()
	}
	if why != nil {
		w.Doubts = append(w.Doubts, fmt.Sprintf("%s: rules of the legacy variant are not seen, only the marks between its tables: %v", w.space.Name, why))
	}
	w.table, err = addTable(f)
	return err
}

func (w *Watcher) note(err error) {
	if err == nil {
		return
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.errs = append(w.errs, fmt.Errorf("tracing in %s: %w", w.space.Name, err))
}

// Close takes everything away again and returns what went wrong on the way.
func (w *Watcher) Close() error {
	var errs []error
	if w.table != nil {
		errs = append(errs, w.table.remove())
	}
	if w.logger != nil {
		errs = append(errs, w.logger.close())
	}
	if w.listener != nil {
		errs = append(errs, w.listener.finish())
	}
	if w.capture != nil {
		errs = append(errs, w.capture.close())
	}
	w.done.Wait()
	if w.listener != nil {
		errs = append(errs, w.listener.close())
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	return errors.Join(append(errs, w.errs...)...)
}
