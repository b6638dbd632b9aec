// SPDX-License-Identifier: Apache-2.0

//go:build e2e

package e2e

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/discovery"
	"k8s.io/client-go/metadata"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"

	"github.com/ambient22/ambient22/internal/mesh"
)

// shownDifferences is how many lines a person can use.
const shownDifferences = 40

// before is what there was before the install.
type before struct {
	nodes   map[string]dump
	objects map[string]bool
}

// look lists the nodes and the API.
func (w *world) look(t *testing.T) before {
	t.Helper()
	b := before{nodes: map[string]dump{}}
	for _, node := range nodes() {
		eventually(t, "what "+node+" shows to settle", func() error {
			now, err := takeDump(t.Context(), node)
			if err != nil {
				return err
			}
			last := b.nodes[node]
			b.nodes[node] = now
			if strings.Contains(now["ip address"], " tentative") {
				return errors.New("an IPv6 address is still tentative")
			}
			// Addresses and routes of pods that just began to run come one after the other.
			if differs := last.differences(now); last == nil || len(differs) > 0 {
				return fmt.Errorf("it still changes: %v", differs)
			}
			return nil
		})
	}
	objects, err := everything(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	b.objects = objects
	return b
}

// testUninstall takes all of it away while pods are captured, and compares.
func (w *world) testUninstall(t *testing.T, b before) {
	start := time.Now()
	said, err := ambientctl(t.Context(), "uninstall")
	if err != nil {
		t.Fatalf("%v\n%s", err, said)
	}
	t.Log(said)
	figure(t, "ambientctl uninstall: %.1f s", time.Since(start).Seconds())
	for _, node := range nodes() {
		eventually(t, node+" as it was", func() error {
			now, err := takeDump(t.Context(), node)
			if err != nil {
				return err
			}
			if differs := b.nodes[node].differences(now); len(differs) > 0 {
				return errors.New("\n" + strings.Join(differs[:min(len(differs), shownDifferences)], "\n"))
			}
			return nil
		})
		figure(t, "%s: %d dumps (%d lines) byte-identical to before the install: %s, CNI files, sysctls", node, len(b.nodes[node]), b.nodes[node].size(), strings.Join(shown(), ", "))
	}
	objects, err := everything(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	var left []string
	for _, name := range slices.Sorted(maps.Keys(objects)) {
		if !b.objects[name] {
			left = append(left, name)
		}
	}
	if len(left) > 0 {
		t.Errorf("objects left in the API:\n%s", strings.Join(left, "\n"))
	}
	events := w.ownEvents(t)
	figure(t, "API: of %d objects of all types none was there that was not there before; events of ours: %d", len(objects), events)
	w.callsPlainly(t, w.sleep[nodes()[0]], w.productpage[nodes()[1]])
}

// ownEvents counts, and refuses, events that our programs reported, and annotations.
func (w *world) ownEvents(t *testing.T) int {
	t.Helper()
	list, err := w.api.CoreV1().Events("").List(t.Context(), metav1.ListOptions{})
	if err != nil {
		t.Fatal(err)
	}
	own := 0
	for _, e := range list.Items {
		if strings.HasPrefix(e.Source.Component+e.ReportingController, "ambient") || e.InvolvedObject.Namespace == mesh.RootNamespace {
			own++
			t.Errorf("an event is left: %s %s: %s", e.InvolvedObject.Name, e.Reason, e.Message)
		}
	}
	all, err := w.api.CoreV1().Pods("").List(t.Context(), metav1.ListOptions{})
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range all.Items {
		if _, found := p.Annotations[mesh.AnnotationRedirection]; found {
			t.Errorf("pod %s still has the annotation", p.Name)
		}
	}
	return own
}

// everything is the name of every object of every type, events aside: those come and
// go with whatever anybody does.
func everything(ctx context.Context) (map[string]bool, error) {
	config, err := clientcmd.BuildConfigFromFlags("", os.Getenv("KUBECONFIG"))
	if err != nil {
		return nil, err
	}
	config.QPS = -1
	config.WarningHandler = rest.NoWarnings{} // that some types are old
	types, err := discovery.NewDiscoveryClientForConfig(config)
	if err != nil {
		return nil, err
	}
	lists, err := types.ServerPreferredResources()
	if err != nil {
		return nil, err
	}
	client, err := metadata.NewForConfig(config)
	if err != nil {
		return nil, err
	}
	all := map[string]bool{}
	for _, list := range lists {
		version, err := schema.ParseGroupVersion(list.GroupVersion)
		if err != nil {
			return nil, err
		}
		for _, r := range list.APIResources {
			if !slices.Contains(r.Verbs, "list") || r.Kind == "Event" {
				continue
			}
			found, err := client.Resource(version.WithResource(r.Name)).Namespace(corev1.NamespaceAll).List(ctx, metav1.ListOptions{})
			if err != nil {
				return nil, fmt.Errorf("listing %s: %w", r.Name, err)
			}
			for _, o := range found.Items {
				all[r.Name+" "+o.Namespace+"/"+o.Name] = true
			}
		}
	}
	return all, nil
}
