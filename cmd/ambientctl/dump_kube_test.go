// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/net/websocket"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/ambient22/ambient22/internal/dump"
)

// execServer is as much of an API server as dump needs: a node with its two pods,
// which answer a command with an archive.
type execServer struct {
	t *testing.T
	// answer is what a container prints, and how the command ends.
	answer   func(container string, command []string) (out []byte, said string, code int)
	commands []string
}

func (e *execServer) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	const pods = "/api/v1/namespaces/istio-system/pods"
	switch {
	case r.URL.Path == "/version":
		fmt.Fprint(w, `{"major": "1", "minor": "35"}`)
	case r.URL.Path == "/api/v1/nodes":
		e.json(w, corev1.NodeList{
			TypeMeta: metav1.TypeMeta{Kind: "NodeList", APIVersion: "v1"},
			Items:    []corev1.Node{{ObjectMeta: metav1.ObjectMeta{Name: "node-a"}}},
		})
	case r.URL.Path == pods:
		e.json(w, e.podList(r.URL.Query().Get("labelSelector"), r.URL.Query().Get("fieldSelector")))
	case strings.HasPrefix(r.URL.Path, pods+"/") && strings.HasSuffix(r.URL.Path, "/exec"):
		e.exec(w, r)
	default:
		http.NotFound(w, r)
	}
}

func (e *execServer) json(w http.ResponseWriter, v any) {
	w.Header().Set("Content-Type", "application/json")
	if err := json.NewEncoder(w).Encode(v); err != nil {
		e.t.Error(err)
	}
}

func (e *execServer) podList(labels, fields string) corev1.PodList {
	list := corev1.PodList{TypeMeta: metav1.TypeMeta{Kind: "PodList", APIVersion: "v1"}}
	app, _ := strings.CutPrefix(labels, "app=")
	if fields != "spec.nodeName=node-a" {
		return list
	}
	for _, ready := range []corev1.ConditionStatus{corev1.ConditionTrue, corev1.ConditionFalse} {
		list.Items = append(list.Items, corev1.Pod{
			ObjectMeta: metav1.ObjectMeta{Name: app + "-" + strings.ToLower(string(ready)), Namespace: "istio-system"},
			Status: corev1.PodStatus{
				Phase: corev1.PodRunning, Conditions: []corev1.PodCondition{{Type: corev1.PodReady, Status: ready}},
			},
		})
	}
	return list
}

// exec speaks the fifth version of the protocol: each message begins with the number
// of its stream, and the third one says how the command ended.
func (e *execServer) exec(w http.ResponseWriter, r *http.Request) {
	q := r.URL.Query()
	e.commands = append(e.commands, r.URL.Path+" "+q.Get("container")+" "+strings.Join(q["command"], " "))
	out, said, code := e.answer(q.Get("container"), q["command"])
	server := websocket.Server{
		Handshake: func(c *websocket.Config, _ *http.Request) error {
			c.Protocol = []string{"v5.channel.k8s.io"}
			return nil
		},
		Handler: func(ws *websocket.Conn) {
			ws.PayloadType = websocket.BinaryFrame
			send := func(stream byte, data []byte) {
				if _, err := ws.Write(append([]byte{stream}, data...)); err != nil {
					e.t.Error(err)
				}
			}
			for part := out; len(part) > 0; {
				n := min(len(part), 1000)
				send(1, part[:n])
				part = part[n:]
			}
			send(2, []byte(said))
			status := metav1.Status{Status: metav1.StatusSuccess}
			if code != 0 {
				status = metav1.Status{
					Status: metav1.StatusFailure, Reason: "NonZeroExitCode",
					Details: &metav1.StatusDetails{Causes: []metav1.StatusCause{{Type: "ExitCode", Message: fmt.Sprint(code)}}},
				}
			}
			text, err := json.Marshal(status)
			if err != nil {
				e.t.Error(err)
			}
			send(3, text)
			if err := ws.WriteClose(1000); err != nil {
				e.t.Error(err)
			}
		},
	}
	server.ServeHTTP(w, r)
}

// cluster writes a kubeconfig for a server.
func (e *execServer) cluster() string {
	server := httptest.NewServer(e)
	e.t.Cleanup(server.Close)
	path := filepath.Join(e.t.TempDir(), "kubeconfig")
	text := fmt.Sprintf(`{"apiVersion": "v1", "kind": "Config", "current-context": "c",
"clusters": [{"name": "c", "cluster": {"server": %q}}], "users": [{"name": "u", "user": {}}],
"contexts": [{"name": "c", "context": {"cluster": "c", "user": "u"}}]}`, server.URL)
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		e.t.Fatal(err)
	}
	return path
}

// packed is an archive of one namespace.
func packed(t *testing.T, space string) []byte {
	t.Helper()
	a := &dump.Archive{Header: dump.Header{Node: "somehow"}}
	a.Add(space, dump.KindRules, "0:\tfrom all lookup local\n", "")
	a.Gap(space, dump.KindSets, "not installed")
	var b bytes.Buffer
	if err := dump.Write(&b, a); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func TestDumpThroughACluster(t *testing.T) {
	e := &execServer{t: t}
	e.answer = func(_ string, command []string) ([]byte, string, int) {
		for i, word := range command {
			if word == "--only" {
				return packed(t, command[i+1]), "the dump is written", 0
			}
		}
		return nil, "no --only", 1
	}
	for _, which := range [][]string{{"--node", "node-a"}, {"--all-nodes"}} {
		out := filepath.Join(t.TempDir(), "a.tar.gz")
		var stdout, stderr bytes.Buffer
		args := append([]string{"dump", "--kubeconfig", e.cluster(), "--out", out}, which...)
		if code := run(t.Context(), args, nil, &stdout, &stderr); code != 0 {
			t.Fatalf("%v: exit code %d: %s", which, code, stderr.String())
		}
		n, err := dump.Open(out)
		if err != nil {
			t.Fatal(err)
		}
		if n.Name != "node-a" || n.Host == nil || n.Ztunnel == nil || len(n.Ztunnel.Rules) != 1 || n.Host.Missing[dump.KindSets] != "not installed" {
			t.Errorf("%v: %+v", which, n)
		}
	}
	want := "/api/v1/namespaces/istio-system/pods/ambient-node-true/exec ambient-node /usr/local/bin/ambientctl dump --only host"
	if len(e.commands) == 0 || !strings.HasPrefix(e.commands[0], want) {
		t.Errorf("ran %q", e.commands)
	}
}

func TestDumpThroughAClusterWithTrouble(t *testing.T) {
	fail := func([]string) ([]byte, string, int) { return nil, "ambientctl: taking a dump: broken", 1 }
	for name, c := range map[string]struct {
		node   string
		answer func(container string, command []string) ([]byte, string, int)
		code   int
		say    []string
	}{
		"the host alone": {"node-a", func(container string, command []string) ([]byte, string, int) {
			if container == "ztunnel" {
				return fail(command)
			}
			return packed(t, dump.HostSpace), "", 0
		}, 0, []string{"not in the dump of node-a: ztunnel: ", "ended with exit code 1: ambientctl: taking a dump: broken"}},
		"nothing": {"node-a", func(_ string, command []string) ([]byte, string, int) { return fail(command) }, 1, []string{
			"taking a dump of node node-a", "in pod ambient-node-true ended with exit code 1", "in pod ztunnel-true",
		}},
		"another answer": {"node-a", func(string, []string) ([]byte, string, int) { return []byte("unknown command"), "", 0 }, 1, []string{
			"reading what pod ambient-node-true sent", "no archive",
		}},
		"no such node": {"node-x", nil, 1, []string{"neither the node controller nor a ztunnel runs there"}},
	} {
		t.Run(name, func(t *testing.T) {
			e := &execServer{t: t, answer: c.answer}
			var stderr bytes.Buffer
			out := filepath.Join(t.TempDir(), "a")
			code := run(t.Context(), []string{"dump", "--kubeconfig", e.cluster(), "--out", out, "--node", c.node}, nil, io.Discard, &stderr)
			if code != c.code {
				t.Errorf("exit code %d", code)
			}
			for _, say := range c.say {
				if !strings.Contains(stderr.String(), say) {
					t.Errorf("it does not say %q:\n%s", say, stderr.String())
				}
			}
			if _, err := os.Stat(out); (err == nil) != (c.code == 0) {
				t.Errorf("the archive: %v", err)
			}
		})
	}
}

func TestDumpRefusesWhatMakesNoSense(t *testing.T) {
	for _, c := range []struct{ args, want string }{
		{"--pods some", `--pods: "some" is neither`},
		{"--node a --all-nodes", "give one of them"},
		{"--kubeconfig k", "--node or --all-nodes"},
		{"--timeout 0s", "more than 0"},
		{"here", "here"},
	} {
		var stderr bytes.Buffer
		code := run(t.Context(), append([]string{"dump"}, strings.Fields(c.args)...), nil, io.Discard, &stderr)
		if code != 1 || !strings.Contains(stderr.String(), c.want) {
			t.Errorf("%s: exit code %d: %s", c.args, code, stderr.String())
		}
	}
}
