// SPDX-License-Identifier: Apache-2.0

package main

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"testing"

	nodedump "github.com/ambient22/ambient22/internal/dump"
	"github.com/ambient22/ambient22/internal/mesh"
)

func workload(name, node, ip string, class mesh.Class, why string) mesh.Workload {
	return mesh.Workload{
		UID: "uid-" + name, Namespace: "default", Name: name, Node: node, IP: netip.MustParseAddr(ip),
		ServiceAccount: name, Class: class, NotEnrolled: why, Ready: true,
	}
}

func TestWorkloadsSayWhoIsCapturedAndWhyNot(t *testing.T) {
	capture := &mesh.Capture{
		Snapshot: &mesh.Snapshot{
			Workloads: []mesh.Workload{
				workload("in", "a", "10.0.0.1", mesh.InMesh, ""),
				workload("refused", "a", "10.0.0.2", mesh.InMesh, ""),
				workload("coming", "a", "10.0.0.3", mesh.InMesh, ""),
				workload("out", "a", "10.0.0.4", mesh.OptedOut, "it opted out"),
				workload("other", "b", "10.0.1.1", mesh.InMesh, ""),
				workload("bare", "c", "10.0.2.1", mesh.InMesh, ""),
				workload("z-a", "a", "10.0.0.9", mesh.Ztunnel, "it is a ztunnel"),
				workload("z-b", "b", "10.0.1.9", mesh.Ztunnel, "it is a ztunnel"),
			},
			LeftOut: []mesh.LeftOut{{UID: "uid-p", Namespace: "default", Name: "pending", Node: "a", Why: "it is Pending, not Running"}},
			Services: []mesh.Service{{
				Namespace: "default", Name: "s", VIP: netip.MustParseAddr("10.8.0.1"),
				Ports: []mesh.ServicePort{{Name: "http", Number: 80, Endpoints: []mesh.Endpoint{{IP: netip.MustParseAddr("10.0.0.1"), Port: 8080}}}},
			}},
		},
		Pods:    map[string]netip.Addr{"uid-in": netip.MustParseAddr("10.0.0.1")},
		Refused: map[string]string{"uid-refused": "no route leads to it"},
	}
	k := &known{node: "a"}
	heard := 0
	h := k.beside(http.NotFoundHandler())
	get := func() *httptest.ResponseRecorder {
		w := httptest.NewRecorder()
		h.ServeHTTP(w, httptest.NewRequest(http.MethodGet, nodedump.WorkloadsPath, nil))
		return w
	}
	if w := get(); w.Code != http.StatusServiceUnavailable {
		t.Errorf("before anything is known: %d", w.Code)
	}
	k.hear(func(*mesh.Capture) { heard++ })(capture)
	k.hear(nil)(capture)
	var got nodedump.Workloads
	if err := json.Unmarshal(get().Body.Bytes(), &got); err != nil {
		t.Fatal(err)
	}
	want := map[string]string{
		"in": "", "other": "", "refused": "no route leads to it", "coming": "it is on its way into the kernel", "out": "it opted out",
		"bare": "no ztunnel is ready on node c", "z-a": "it is a ztunnel", "z-b": "it is a ztunnel", "pending": "it is Pending, not Running",
	}
	for _, p := range got.Pods {
		if reason, known := want[p.Name]; !known || p.Reason != reason || p.Captured != (reason == "") {
			t.Errorf("%+v", p)
		}
	}
	if len(got.Pods) != len(want) || got.Node != "a" || heard != 1 {
		t.Errorf("%d pods, node %q, told %d times", len(got.Pods), got.Node, heard)
	}
	if s := got.Services; len(s) != 1 || s[0].Ports[0].Endpoints[0] != netip.MustParseAddrPort("10.0.0.1:8080") {
		t.Errorf("%+v", s)
	}
}
