// SPDX-License-Identifier: Apache-2.0

package xds

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	clusterv3 "github.com/envoyproxy/go-control-plane/envoy/config/cluster/v3"
	"google.golang.org/protobuf/types/known/durationpb"

	"github.com/ambient22/ambient22/envoyconfig"
)

func TestBadSetIsRefusedWhole(t *testing.T) {
	s, w := start(t), newWorld(t)
	w.set(s.Server)
	c := s.delta()
	subscribeAll(c)
	refused := 0.0
	for name, test := range map[string]struct {
		spoil func(r *envoyconfig.Resources)
		want  string
	}{
		"invalid message": {func(r *envoyconfig.Resources) {
			r.Clusters[0] = w.pack("alpha", &clusterv3.Cluster{Name: "alpha", ConnectTimeout: durationpb.New(-1)})
		}, `cluster "alpha"`},
		"dangling cluster":  {func(r *envoyconfig.Resources) { r.Clusters, r.Endpoints = r.Clusters[:1], r.Endpoints[:1] }, "beta"},
		"missing endpoints": {func(r *envoyconfig.Resources) { r.Endpoints = r.Endpoints[:1] }, "beta"},
		"twice":             {func(r *envoyconfig.Resources) { r.Clusters = append(r.Clusters, r.Clusters[0]) }, "twice"},
		"no name":           {func(r *envoyconfig.Resources) { r.Clusters[0].Name = "" }, "no name"},
		"no version":        {func(r *envoyconfig.Resources) { r.Clusters[0].Version = "" }, "no version"},
		"no wire form":      {func(r *envoyconfig.Resources) { r.Clusters[0].Wire, r.Clusters[0].Version = nil, "x" }, `named ""`},
		"cut wire form": {func(r *envoyconfig.Resources) {
			r.Clusters[0].Wire, r.Clusters[0].Version = envoyconfig.Wire{r.Clusters[0].Wire[0][:5]}, "x"
		}, "decoding"},
		"wrong kind": {func(r *envoyconfig.Resources) { r.Clusters = append(r.Clusters, r.Listeners[0]) }, "listener.v3.Listener"},
		"other name": {func(r *envoyconfig.Resources) {
			r.Clusters = append(r.Clusters, w.pack("zeta", &clusterv3.Cluster{Name: "eta"}))
		}, `named "eta"`},
		"no identity":   {func(r *envoyconfig.Resources) { r.Secrets[0].Identity = "sleep" }, podName},
		"reserved name": {func(r *envoyconfig.Resources) { r.Secrets[0].Name = envoyconfig.RootCASecret }, envoyconfig.RootCASecret},
		"two identities": {func(r *envoyconfig.Resources) {
			r.Secrets = append(r.Secrets, envoyconfig.SecretName{Name: podName, Identity: otherID})
		}, "claimed by"},
	} {
		t.Run(name, func(t *testing.T) {
			r := w.resources()
			// A good change beside the bad one must not be served either.
			r.Extensions[0] = w.resourcesWithExtension("half").Extensions[0]
			test.spoil(r)
			err := s.Set(r)
			if err == nil || !strings.Contains(err.Error(), test.want) {
				t.Errorf("Set returned %v, want an error with %q", err, test.want)
			}
			refused++
			if got := s.metric("sets_total", setRefused); got != refused {
				t.Errorf("%v refused sets counted, want %v", got, refused)
			}
		})
	}
	if err := s.Set(nil); err == nil {
		t.Error("a set of nothing was taken")
	}
	w.extension = "whole"
	w.set(s.Server)
	wantDelta(c, "extension workload_metadata")
	c.quiet()
}

// resourcesWithExtension is the world with another extension, without changing it.
func (w *world) resourcesWithExtension(content string) *envoyconfig.Resources {
	other := *w
	other.extension = content
	return other.resources()
}

func TestErrorsOfASetAreBounded(t *testing.T) {
	s, w := start(t), many(t, 100)
	r := w.resources()
	for i := range r.Clusters {
		r.Clusters[i].Version = ""
	}
	err := s.Set(r)
	if err == nil || strings.Count(err.Error(), "\n") != maxProblems || !strings.Contains(err.Error(), "and 92 more") {
		t.Errorf("got %v", err)
	}
}

func TestUnsortedSetIsServedSorted(t *testing.T) {
	s, w := start(t), newWorld(t)
	r := w.resources()
	slices.Reverse(r.Clusters)
	if err := s.Set(r); err != nil {
		t.Fatal(err)
	}
	if r.Clusters[0].Name != "beta" {
		t.Error("Set has reordered the caller's slice")
	}
	w.set(s.Server)
	if got := s.metric("sets_total", setUnchanged); got != 1 {
		t.Error("the same resources in another order count as a change")
	}
}

func TestUnchangedResourcesAreShared(t *testing.T) {
	s, w := start(t), many(t, 10)
	w.set(s.Server)
	before := s.snapshot()
	w.addresses["alpha"] = "10.4.3.111"
	w.set(s.Server)
	after := s.snapshot()
	for k := range resourceKinds {
		for i, e := range after.tables[k].list {
			if same := e == before.tables[k].list[i]; same == (k == endpoints && e.Name == "alpha") {
				t.Errorf("%s %s: entry kept: %v", k, e.Name, same)
			}
		}
	}
	if got, _ := after.changedSince(endpoints, before.generation); !slices.Equal(got, []string{"alpha"}) {
		t.Errorf("history says %q changed", got)
	}
}

func TestHistoryIsBounded(t *testing.T) {
	var history []changes
	for i := range 10 * historyGenerations {
		history = remember(history, changes{endpoints: {fmt.Sprint(i)}})
	}
	if len(history) != historyGenerations {
		t.Errorf("%d generations are remembered", len(history))
	}
	history = remember(history, changes{endpoints: make([]string, historyNames)})
	if len(history) != 1 {
		t.Errorf("%d generations are remembered beside a large one", len(history))
	}
	if history = remember(history, changes{endpoints: make([]string, historyNames+1)}); len(history) != 0 {
		t.Errorf("%d generations are remembered where one alone is too large", len(history))
	}
	s := &snapshot{generation: 9, history: history}
	if _, known := s.changedSince(endpoints, 8); known {
		t.Error("a forgotten generation is known")
	}
	if names, known := s.changedSince(endpoints, 9); !known || len(names) != 0 {
		t.Error("the present generation differs from itself")
	}
}
