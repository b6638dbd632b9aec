// SPDX-License-Identifier: Apache-2.0

package mesh_test

import (
	"maps"
	"slices"
	"testing"
	"time"

	"github.com/ambient22/ambient22/internal/mesh"
)

func label(key, value string) map[string]string { return map[string]string{key: value} }

// TestPoliciesOf wants the mesh's policies first, and everything by name.
func TestPoliciesOf(t *testing.T) {
	s := &mesh.Snapshot{Policies: []mesh.AuthorizationPolicy{
		{Namespace: "shop", Name: "web", Selector: label("app", "web")},
		{Namespace: "zoo", Name: "all"},
		{Namespace: mesh.RootNamespace, Name: "z"},
		{Namespace: "default", Name: "all"},
		{Namespace: mesh.RootNamespace, Name: "a", Selector: label("app", "web")},
		{Namespace: "shop", Name: "all"},
		{Namespace: "shop", Name: "both", Selector: map[string]string{"app": "web", "version": "v1"}},
		{Namespace: "shop", Name: "empty-value", Selector: label("tier", "")},
	}}
	s.Sort()
	for name, c := range map[string]struct {
		w    mesh.Workload
		want []string
	}{
		"web":           {mesh.Workload{Namespace: "shop", Labels: label("app", "web")}, []string{"istio-system/a", "istio-system/z", "shop/all", "shop/web"}},
		"web v1":        {mesh.Workload{Namespace: "shop", Labels: map[string]string{"app": "web", "version": "v1"}}, []string{"istio-system/a", "istio-system/z", "shop/all", "shop/both", "shop/web"}},
		"empty value":   {mesh.Workload{Namespace: "shop", Labels: label("tier", "")}, []string{"istio-system/z", "shop/all", "shop/empty-value"}},
		"no labels":     {mesh.Workload{Namespace: "zoo"}, []string{"istio-system/z", "zoo/all"}},
		"own is root":   {mesh.Workload{Namespace: mesh.RootNamespace, Labels: label("app", "web")}, []string{"istio-system/a", "istio-system/z"}},
		"no own policy": {mesh.Workload{Namespace: "other"}, []string{"istio-system/z"}},
	} {
		t.Run(name, func(t *testing.T) {
			var got []string
			for _, p := range s.PoliciesOf(&c.w) {
				got = append(got, p.Namespace+"/"+p.Name)
			}
			if !slices.Equal(got, c.want) {
				t.Errorf("policies %v, want %v", got, c.want)
			}
		})
	}
}

// TestMTLSOf goes from no policy to all levels at once.
func TestMTLSOf(t *testing.T) {
	at := func(minute int) time.Time { return time.Date(2022, 11, 8, 6, minute, 0, 0, time.UTC) }
	web := label("app", "web")
	meshWide := func(m mesh.MTLSMode) mesh.PeerAuthentication {
		return mesh.PeerAuthentication{Namespace: mesh.RootNamespace, Name: "mesh", Mode: m}
	}
	namespaced := func(m mesh.MTLSMode) mesh.PeerAuthentication {
		return mesh.PeerAuthentication{Namespace: "shop", Name: "namespace", Mode: m}
	}
	selecting := func(m mesh.MTLSMode, ports map[uint16]mesh.MTLSMode) mesh.PeerAuthentication {
		return mesh.PeerAuthentication{Namespace: "shop", Name: "web", Selector: web, Mode: m, Ports: ports}
	}
	older := mesh.PeerAuthentication{Namespace: "shop", Name: "zzz", Mode: mesh.MTLSStrict, Created: at(1)}
	newer := mesh.PeerAuthentication{Namespace: "shop", Name: "aaa", Mode: mesh.MTLSDisable, Created: at(2)}
	const unset, disable, permissive, strict = mesh.MTLSUnset, mesh.MTLSDisable, mesh.MTLSPermissive, mesh.MTLSStrict
	for name, c := range map[string]struct {
		policies []mesh.PeerAuthentication
		mode     mesh.MTLSMode
		ports    map[uint16]mesh.MTLSMode
	}{
		"none":                  {nil, permissive, nil},
		"mesh":                  {[]mesh.PeerAuthentication{meshWide(strict)}, strict, nil},
		"mesh unset":            {[]mesh.PeerAuthentication{meshWide(unset)}, permissive, nil},
		"namespace beats mesh":  {[]mesh.PeerAuthentication{meshWide(strict), namespaced(permissive)}, permissive, nil},
		"namespace inherits":    {[]mesh.PeerAuthentication{meshWide(strict), namespaced(unset)}, strict, nil},
		"workload beats both":   {[]mesh.PeerAuthentication{meshWide(permissive), namespaced(permissive), selecting(strict, nil)}, strict, nil},
		"workload inherits":     {[]mesh.PeerAuthentication{namespaced(strict), selecting(unset, nil)}, strict, nil},
		"strict port":           {[]mesh.PeerAuthentication{selecting(permissive, map[uint16]mesh.MTLSMode{80: strict})}, permissive, map[uint16]mesh.MTLSMode{80: strict}},
		"open port":             {[]mesh.PeerAuthentication{meshWide(strict), selecting(unset, map[uint16]mesh.MTLSMode{80: disable, 81: strict, 82: unset})}, strict, map[uint16]mesh.MTLSMode{80: disable}},
		"the oldest":            {[]mesh.PeerAuthentication{newer, older}, strict, nil},
		"equally old, by name":  {[]mesh.PeerAuthentication{{Namespace: "shop", Name: "b", Mode: strict}, {Namespace: "shop", Name: "a", Mode: disable}}, disable, nil},
		"others' workloads":     {[]mesh.PeerAuthentication{{Namespace: "shop", Name: "x", Selector: label("app", "db"), Mode: strict}}, permissive, nil},
		"others' namespaces":    {[]mesh.PeerAuthentication{{Namespace: "zoo", Name: "x", Mode: strict}}, permissive, nil},
		"selector in root only": {[]mesh.PeerAuthentication{{Namespace: mesh.RootNamespace, Name: "x", Selector: web, Mode: strict}}, permissive, nil},
	} {
		t.Run(name, func(t *testing.T) {
			s := &mesh.Snapshot{PeerAuthentications: c.policies}
			s.Sort()
			got := s.MTLSOf(&mesh.Workload{Namespace: "shop", Labels: web})
			if got.Mode != c.mode || !maps.Equal(got.Ports, c.ports) {
				t.Errorf("mode %v, ports %v; want %v, %v", got.Mode, got.Ports, c.mode, c.ports)
			}
		})
	}
}

func TestNativeHBONE(t *testing.T) {
	for value, want := range map[string]bool{"h2": true, "http": true, "none": false, "": false} {
		w := mesh.Workload{Labels: label(mesh.LabelTunnel, value)}
		if w.NativeHBONE() != want {
			t.Errorf("label %q: %v", value, !want)
		}
	}
	if (&mesh.Workload{}).NativeHBONE() {
		t.Error("a pod without labels speaks HBONE")
	}
}
