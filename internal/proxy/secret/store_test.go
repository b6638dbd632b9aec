// SPDX-License-Identifier: Apache-2.0

package secret

import (
	"testing"

	"github.com/ambient22/ambient22/internal/proxy/config"
)

func TestStore(t *testing.T) {
	running := make(map[string]int)
	s := NewStore(func(e *Entry) func() {
		running[e.Ref.Name]++
		return func() { running[e.Ref.Name]-- }
	})
	a, b := s.Acquire(config.SecretRef{Name: "a"}), s.Acquire(config.SecretRef{Name: "b"})
	again := s.Acquire(config.SecretRef{Name: "a"})
	if a != again || running["a"] != 1 || len(s.Entries()) != 2 {
		t.Fatalf("fetches %v", running)
	}
	select {
	case <-a.Ready():
		t.Error("ready before anything came")
	default:
	}
	a.Refuse(&Refusal{Details: "bad"})
	if a.Get() != nil || a.Refused() == nil {
		t.Error("a refusal counts as a version")
	}
	a.Set(&Value{Version: "1"})
	a.Set(&Value{Version: "2"})
	<-a.Ready()
	if a.Get().Version != "2" || a.Refused() != nil {
		t.Errorf("holds %v, refused %v", a.Get(), a.Refused())
	}
	s.Release(a)
	if running["a"] != 1 {
		t.Error("stopped while somebody needs it")
	}
	s.Release(again)
	s.Release(b)
	if running["a"] != 0 || running["b"] != 0 || len(s.Entries()) != 0 {
		t.Errorf("fetches go on: %v", running)
	}
}
