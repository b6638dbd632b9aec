// SPDX-License-Identifier: Apache-2.0

package kubeapi

import (
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"net/http/httptest"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
)

// apiServer is as much of an API server as a source talks to: lists, watches with
// their versions, merge patches, creations, discovery of one group. It speaks the
// real protocol, so the real client is under test, its reconnecting included.
type apiServer struct {
	*httptest.Server

	mu       sync.Mutex
	changes  chan struct{} // closed when something changed
	version  int
	oldest   int                                              // version before which history is forgotten
	objects  map[string]map[string]*unstructured.Unstructured // resource → namespace/name
	history  []change
	served   map[string][]string // group version → resources, for discovery
	down     bool
	refuse   func(*http.Request) int // status to answer with, 0 to go on
	refused  int
	requests []request
}

type change struct {
	version  int
	kind     string // ADDED, MODIFIED, DELETED
	resource string
	object   *unstructured.Unstructured
}

// request is what an authorizer sees of a request.
type request struct{ verb, group, resource, subresource, namespace, name string }

func newAPIServer(t *testing.T) *apiServer {
	s := &apiServer{
		changes: make(chan struct{}), version: 1,
		objects: map[string]map[string]*unstructured.Unstructured{}, served: map[string][]string{},
	}
	s.Server = httptest.NewServer(s)
	t.Cleanup(func() {
		s.CloseClientConnections()
		s.Close()
	})
	return s
}

// put creates or changes an object.
func (s *apiServer) put(t *testing.T, resource string, o runtime.Object) {
	t.Helper()
	content, err := runtime.DefaultUnstructuredConverter.ToUnstructured(o)
	if err != nil {
		t.Fatal(err)
	}
	stored := &unstructured.Unstructured{Object: content}
	stored.SetAPIVersion(kinds[resource].version)
	stored.SetKind(kinds[resource].kind)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.store(resource, stored)
}

var kinds = map[string]struct{ version, kind string }{
	"nodes": {"v1", "Node"}, "namespaces": {"v1", "Namespace"}, "pods": {"v1", "Pod"}, "services": {"v1", "Service"},
	"configmaps": {"v1", "ConfigMap"}, "endpointslices": {"discovery.k8s.io/v1", "EndpointSlice"},
	"authorizationpolicies": {"security.istio.io/v1", "AuthorizationPolicy"},
	"peerauthentications":   {"security.istio.io/v1", "PeerAuthentication"},
}

// store keeps an object; the caller holds the lock.
func (s *apiServer) store(resource string, o *unstructured.Unstructured) {
	kind := "MODIFIED"
	if s.objects[resource] == nil {
		s.objects[resource] = map[string]*unstructured.Unstructured{}
	}
	key := o.GetNamespace() + "/" + o.GetName()
	if s.objects[resource][key] == nil {
		kind = "ADDED"
	}
	s.version++
	o.SetResourceVersion(strconv.Itoa(s.version))
	s.objects[resource][key] = o
	s.tell(change{s.version, kind, resource, o})
}

func (s *apiServer) remove(resource, namespace, name string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	key := namespace + "/" + name
	o := s.objects[resource][key].DeepCopy()
	delete(s.objects[resource], key)
	s.version++
	o.SetResourceVersion(strconv.Itoa(s.version))
	s.tell(change{s.version, "DELETED", resource, o})
}

func (s *apiServer) tell(c change) {
	s.history = append(s.history, c)
	close(s.changes)
	s.changes = make(chan struct{})
}

// stop breaks all connections and answers nobody until start, which has forgotten
// what happened meanwhile: a watch can't be taken up again.
func (s *apiServer) stop() {
	s.mu.Lock()
	s.down = true
	s.mu.Unlock()
	s.CloseClientConnections()
}

func (s *apiServer) start() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.down, s.oldest = false, s.version
}

func (s *apiServer) serve(version string, resources ...string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.served[version] = resources
}

// get is an object as it is stored now, nil where there is none.
func (s *apiServer) get(resource, namespace, name string) *unstructured.Unstructured {
	s.mu.Lock()
	defer s.mu.Unlock()
	if o := s.objects[resource][namespace+"/"+name]; o != nil {
		return o.DeepCopy()
	}
	return nil
}

// list are all objects of a resource.
func (s *apiServer) list(resource string) []*unstructured.Unstructured {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Collect(maps.Values(s.objects[resource]))
}

// turnedAway waits until so many requests have got no answer or a refusal.
func (s *apiServer) turnedAway(t *testing.T, n int) {
	t.Helper()
	s.wait(t, "requests are turned away", func() bool {
		s.mu.Lock()
		defer s.mu.Unlock()
		return s.refused >= n
	})
}

// wait waits until ok holds. It looks again whenever something is written.
func (s *apiServer) wait(t *testing.T, what string, ok func() bool) {
	t.Helper()
	limit := time.After(30 * time.Second)
	for {
		s.mu.Lock()
		changes := s.changes
		s.mu.Unlock()
		if ok() {
			return
		}
		select {
		case <-changes:
		case <-limit:
			t.Fatalf("it never came to that: %s", what)
		}
	}
}

func (s *apiServer) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	down, code := s.down, 0
	if s.refuse != nil {
		code = s.refuse(r)
	}
	if down || code != 0 {
		s.refused++
		close(s.changes)
		s.changes = make(chan struct{})
	}
	s.mu.Unlock()
	switch {
	case down:
		panic(http.ErrAbortHandler)
	case code != 0:
		fail(w, code)
		return
	}
	parts := strings.Split(strings.Trim(r.URL.Path, "/"), "/")
	group, version := "", ""
	if parts[0] == "apis" {
		group, version, parts = parts[1], parts[2], parts[3:]
	} else {
		parts = parts[2:]
	}
	if len(parts) == 0 {
		s.discover(w, group+"/"+version)
		return
	}
	req := request{group: group}
	if parts[0] == "namespaces" && len(parts) > 2 {
		req.namespace, parts = parts[1], parts[2:]
	}
	req.resource = parts[0]
	if len(parts) > 1 {
		req.name = parts[1]
	}
	if len(parts) > 2 {
		req.subresource = parts[2]
	}
	if name, ok := strings.CutPrefix(r.URL.Query().Get("fieldSelector"), "metadata.name="); ok {
		req.name = name
	}
	s.answer(w, r, req)
}

func (s *apiServer) answer(w http.ResponseWriter, r *http.Request, req request) {
	watch := r.URL.Query().Get("watch") != ""
	req.verb = map[string]string{"GET": "list", "POST": "create", "PATCH": "patch"}[r.Method]
	if watch {
		req.verb = "watch"
	} else if req.verb == "list" && req.name != "" && r.URL.Query().Get("fieldSelector") == "" {
		req.verb = "get"
	}
	s.mu.Lock()
	s.requests = append(s.requests, req)
	s.mu.Unlock()
	switch {
	case watch:
		s.watch(w, r, req)
	case req.verb == "list":
		s.listTo(w, req)
	case req.verb == "get":
		if o := s.get(req.resource, req.namespace, req.name); o != nil {
			reply(w, http.StatusOK, o.Object)
		} else {
			fail(w, http.StatusNotFound)
		}
	default:
		s.write(w, r, req)
	}
}

func (s *apiServer) discover(w http.ResponseWriter, version string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	resources, ok := s.served[version]
	if !ok {
		fail(w, http.StatusNotFound)
		return
	}
	list := metav1.APIResourceList{GroupVersion: version}
	for _, r := range resources {
		list.APIResources = append(list.APIResources, metav1.APIResource{Name: r, Namespaced: true})
	}
	reply(w, http.StatusOK, list)
}

func (s *apiServer) listTo(w http.ResponseWriter, req request) {
	s.mu.Lock()
	defer s.mu.Unlock()
	items := []any{}
	for _, o := range s.objects[req.resource] {
		items = append(items, o.Object)
	}
	reply(w, http.StatusOK, map[string]any{
		"kind": kinds[req.resource].kind + "List", "apiVersion": kinds[req.resource].version, "metadata": map[string]any{"resourceVersion": strconv.Itoa(s.version)}, "items": items,
	})
}

// watch streams changes. A client that asks for the objects themselves first is
// told, as an older server would, that this can't be had.
func (s *apiServer) watch(w http.ResponseWriter, r *http.Request, req request) {
	if r.URL.Query().Get("sendInitialEvents") == "true" {
		fail(w, http.StatusUnprocessableEntity)
		return
	}
	at, _ := strconv.Atoi(r.URL.Query().Get("resourceVersion"))
	w.Header().Set("Content-Type", "application/json")
	for {
		s.mu.Lock()
		changes, gone := s.changes, at < s.oldest
		var lines []any
		for _, c := range s.history {
			if c.version > at && c.resource == req.resource {
				at = c.version
				lines = append(lines, map[string]any{"type": c.kind, "object": c.object.DeepCopy().Object})
			}
		}
		s.mu.Unlock()
		if gone {
			lines = []any{map[string]any{"type": "ERROR", "object": status(http.StatusGone)}}
		}
		for _, line := range lines {
			if json.NewEncoder(w).Encode(line) != nil {
				return
			}
		}
		w.(http.Flusher).Flush()
		if gone {
			return
		}
		select {
		case <-changes:
		case <-r.Context().Done():
			return
		}
	}
}

// write applies a merge patch to the metadata of a pod, or creates or patches an
// event.
func (s *apiServer) write(w http.ResponseWriter, r *http.Request, req request) {
	body := map[string]any{}
	if err := json.NewDecoder(r.Body).Decode(&body); err != nil {
		fail(w, http.StatusBadRequest)
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if req.verb == "create" {
		o := &unstructured.Unstructured{Object: body}
		if s.objects[req.resource][o.GetNamespace()+"/"+o.GetName()] != nil {
			fail(w, http.StatusConflict)
			return
		}
		s.store(req.resource, o)
		reply(w, http.StatusCreated, o.Object)
		return
	}
	old := s.objects[req.resource][req.namespace+"/"+req.name]
	if old == nil {
		fail(w, http.StatusNotFound)
		return
	}
	o := old.DeepCopy()
	if meta, ok := body["metadata"].(map[string]any); ok && req.resource == "pods" && req.subresource == "status" {
		if meta["uid"] != string(o.GetUID()) || r.URL.Query().Get("fieldManager") != Component {
			fail(w, http.StatusConflict)
			return
		}
		annotations := o.GetAnnotations()
		if annotations == nil {
			annotations = map[string]string{}
		}
		for key, value := range meta["annotations"].(map[string]any) {
			if value == nil {
				delete(annotations, key)
			} else {
				annotations[key] = value.(string)
			}
		}
		o.SetAnnotations(annotations)
	}
	if count, ok := body["count"]; ok {
		o.Object["count"] = count
	}
	s.store(req.resource, o)
	reply(w, http.StatusOK, o.Object)
}

func status(code int) metav1.Status {
	reasons := map[int]metav1.StatusReason{
		http.StatusNotFound: metav1.StatusReasonNotFound, http.StatusConflict: metav1.StatusReasonAlreadyExists,
		http.StatusGone: metav1.StatusReasonExpired, http.StatusUnprocessableEntity: metav1.StatusReasonInvalid,
	}
	return metav1.Status{
		TypeMeta: metav1.TypeMeta{Kind: "Status", APIVersion: "v1"}, Status: metav1.StatusFailure,
		Code: int32(code), Reason: reasons[code], Message: fmt.Sprintf("the server says %d", code),
	}
}

func fail(w http.ResponseWriter, code int) { reply(w, code, status(code)) }

func reply(w http.ResponseWriter, code int, body any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(code)
	_ = json.NewEncoder(w).Encode(body) // a client that has gone needs no answer
}
