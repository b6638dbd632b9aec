// SPDX-License-Identifier: Apache-2.0

package live

import (
	"sync"
	"testing"
)

func TestExplore(t *testing.T) {
	for _, variant := range []string{"nft", "legacy"} {
		t.Run(variant, func(t *testing.T) {
			w := newWorld(t, variant)
			w.serve()
			var mu sync.Mutex
			var events []Event
			watcher, err := Watch(w.router, w.filter(), func(e Event) {
				mu.Lock()
				defer mu.Unlock()
				events = append(events, e)
			})
			if err != nil {
				t.Fatal(err)
			}
			t.Log(watcher.Doubts)
			w.call()
			if err := watcher.Close(); err != nil {
				t.Error(err)
			}
			for i, e := range events {
				switch {
				case e.Rule != nil:
					t.Logf("%d RULE %+v %v", i, *e.Rule, e.Rule.Header)
				case e.Conn != nil:
					t.Logf("%d CONN %+v", i, *e.Conn)
				case e.Frame != nil:
					t.Logf("%d FRAME %+v %v", i, *e.Frame, &e.Frame.Header)
				}
				if i > 130 {
					break
				}
			}
		})
	}
}
