// SPDX-License-Identifier: Apache-2.0

package lab

import (
	"bufio"
	"encoding/json"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/ambient22/ambient22/internal/lab/app"
	"github.com/ambient22/ambient22/internal/lab/listing"
	"github.com/ambient22/ambient22/internal/lab/machine"
	"github.com/ambient22/ambient22/internal/trace/story"
)

// The lab with real Geneve: on this kernel where it has it, else in a machine.
// One boot for all of it; the commands are those that a person types.
func TestArticleWithGeneve(t *testing.T) {
	needKernel(t)
	o := options(t, DefaultIptables)
	t.Cleanup(func() {
		if code, _, stderr := ctl(t, "", o.flags("down")...); code != 0 {
			t.Errorf("down: exit code %d: %s", code, stderr)
		}
		checkGone(t, o)
	})
	if code, _, stderr := ctl(t, "", o.flags("up")...); code != 0 {
		t.Fatalf("up: exit code %d: %s", code, stderr)
	}
	t.Run("the kernels agree with the dumps", func(t *testing.T) { geneveLive(t, o) })
	t.Run("a call", func(t *testing.T) { geneveCall(t, o) })
	t.Run("exit code and streams", func(t *testing.T) { geneveExec(t, o) })
	t.Run("listings", func(t *testing.T) { geneveListings(t, o) })
	t.Run("1,000 requests one after another", func(t *testing.T) { geneveLoad(t, o, 1000, 1) })
	t.Run("50 callers, 20 requests each", func(t *testing.T) { geneveLoad(t, o, 20, 50) })
	t.Run("64 MiB up", func(t *testing.T) { geneveTransfer(t, o) })
	t.Run("64 MiB down", func(t *testing.T) { geneveTransfer(t, o, "--down") })
}

// Ctrl-C leaves nothing behind, while the machine boots and while it works.
func TestInterruptEndsTheMachine(t *testing.T) {
	if needs := needKernel(t); !needs {
		t.Log("this kernel has Geneve, so no machine is used: TestInterruptCleansUp covers it")
		return
	}
	for _, moment := range []string{"starting a QEMU machine", "the machine is up"} {
		t.Run(moment, func(t *testing.T) {
			o := options(t, DefaultIptables)
			cmd := exec.Command(filepath.Join(binDir, "ambientctl"), o.flags("run", "article")...)
			progress, err := cmd.StderrPipe()
			if err != nil {
				t.Fatal(err)
			}
			if err := cmd.Start(); err != nil {
				t.Fatal(err)
			}
			lines := bufio.NewScanner(progress)
			for lines.Scan() {
				t.Log(lines.Text())
				if strings.Contains(lines.Text(), moment) {
					if err := cmd.Process.Signal(os.Interrupt); err != nil {
						t.Error(err)
					}
				}
			}
			if err := cmd.Wait(); err == nil {
				t.Error("an interrupted run ended with success")
			}
			checkGone(t, o)
		})
	}
}

// needKernel puts the machine's kernel into the cache where a machine is needed.
func needKernel(t *testing.T) (needs bool) {
	t.Helper()
	needs, err := NeedsMachine()
	if err != nil {
		t.Fatal(err)
	}
	if !needs {
		return false
	}
	cache, err := machine.DefaultCacheDir()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := machine.FetchKernel(t.Context(), "../../hack/fetch-kernel.sh", cache, t.Output()); err != nil {
		t.Fatal(err)
	}
	return true
}

// inSleep is a command of the lab's client inside sleep.
func inSleep(o Options, args ...string) []string {
	return o.flags(append([]string{"exec", "sleep", "--", filepath.Join(binDir, "ambientctl"), "inside"}, args...)...)
}

func geneveCall(t *testing.T, o Options) {
	code, stdout, stderr := ctl(t, "", inSleep(o, "get", "--json", callURL)...)
	call := &app.Call{}
	if err := json.Unmarshal([]byte(stdout), call); err != nil {
		t.Fatalf("exit code %d, %v: %s%s", code, err, stdout, stderr)
	}
	if call.Status != 200 || call.Remote != "10.8.14.226:9080" || !strings.HasPrefix(call.Peer, "10.4.4.18:") {
		t.Errorf("got %+v", call)
	}
}

// liveCalls are the calls that are traced in the machine: each kind of way once. The
// first one opens the tunnel.
var liveCalls = []struct{ name, from, url, sentence string }{
	{"a service on the other node", "sleep", "http://productpage:9080/", "goes through an HBONE tunnel"},
	{"a pod's own address on the other node", "sleep", "http://10.4.3.20:9080/", "goes through an HBONE tunnel"},
	{"a service on the same node", "sleep", "http://httpbin:8000/", "goes through an HBONE tunnel"},
	{"from outside the mesh to a pod in it", "outside-a", "http://10.4.3.15:9080/", "is not captured"},
	{"from the mesh to a pod outside it", "sleep", "http://10.4.3.30:8080/", "is captured"},
	{"the kubelet's probe of a captured pod", "node-b", "http://10.4.3.20:9080/health", "is not captured"},
	{"a policy refuses a caller of the mesh", "notsleep", "http://productpage:9080/", "No policy allows"},
}

// geneveLive traces calls in the machine's kernel, with its Geneve devices.
func geneveLive(t *testing.T, o Options) {
	l, err := newLab(o, nil) // for the topology; the lab itself is in the machine
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range liveCalls {
		t.Run(c.name, func(t *testing.T) {
			if s := traceGeneve(t, l, c.from, c.url); !strings.Contains(s.Outcome.Sentence, c.sentence) {
				t.Errorf("the story says: %s", s.Outcome.Sentence)
			}
		})
	}
	t.Run("a datagram", func(t *testing.T) { geneveDatagram(t, l) })
}

// geneveDatagram traces a datagram to a port where nobody listens. That no answer comes
// is all in which the kernels differ from the dumps, which don't know who listens.
func geneveDatagram(t *testing.T, l *Lab) {
	send := []string{"--protocol", "udp", "--answer=false", "--timeout", "2m", "--", "bash", "-c", "echo hello > /dev/udp/10.4.3.20/9999"}
	_, stdout, stderr := ctl(t, "", l.liveArgs("sleep", "10.4.3.20:9999", send...)...)
	if !strings.Contains(stderr, " ways through namespaces compared, ") {
		t.Fatal(stderr)
	}
	for line := range strings.Lines(stderr) {
		if strings.Contains(line, "the kernel did") && !strings.HasPrefix(line, "story: ") {
			t.Error(line)
		}
	}
	if s := readLive(t, stdout); s.Outcome.Captured || !strings.Contains(s.Outcome.Sentence, "reaches productpage") {
		t.Errorf("%+v", s.Outcome)
	}
}

// traceGeneve makes a call and gives its story. On a busy computer the emulated processor
// may need longer for the first TLS handshake than the two seconds that a ztunnel gives
// a tunnel to open; then the ztunnel resets the call, and it is made again.
func traceGeneve(t *testing.T, l *Lab, from, address string) *story.Story {
	t.Helper()
	u, err := url.Parse(address)
	if err != nil {
		t.Fatal(err)
	}
	const calls = 3
	for n := 1; ; n++ {
		code, stdout, stderr := ctl(t, "", l.liveArgs(from, u.Host, append([]string{"--timeout", "2m"}, curl("30", address)...)...)...)
		switch {
		case code == 0 && strings.Contains(stderr, " compared, 0 differences\n"):
			return readLive(t, stdout)
		case n == calls || !strings.Contains(stdout, " UF,URX "):
			t.Fatalf("exit code %d\n%s", code, stderr)
		}
		t.Logf("the tunnel did not open in time: %s", stderr)
	}
}

func geneveExec(t *testing.T, o Options) {
	code, stdout, stderr := ctl(t, "to stdin", o.flags("exec", "node-b", "--", "sh", "-c", "cat; ip -d link show istioin >&2; exit 9")...)
	if code != 9 || stdout != "to stdin" || !strings.Contains(stderr, "geneve id 1000 remote 10.4.3.14") {
		t.Errorf("exit code %d, stdout %q, stderr %q", code, stdout, stderr)
	}
}

func geneveListings(t *testing.T, o Options) {
	code, stdout, stderr := ctl(t, "", o.flags("verify", "--json")...)
	var results []listing.Result
	if err := json.Unmarshal([]byte(stdout), &results); err != nil {
		t.Fatalf("exit code %d, %v: %s%s", code, err, stdout, stderr)
	}
	for _, r := range results {
		if r.Status != listing.Reproduced || r.TablesMoved {
			t.Errorf("listing %02d (%s): %s\n%s\nthe output:\n%s", r.Number, r.Title, r.Status, r.Detail, r.Output)
		}
	}
	if code != 0 || len(results) != 20 {
		t.Errorf("exit code %d, %d listings", code, len(results))
	}
}

func geneveLoad(t *testing.T, o Options, each, concurrent int) {
	code, stdout, stderr := ctl(t, "", inSleep(o, "load", "--requests", strconv.Itoa(each), "--concurrent", strconv.Itoa(concurrent), callURL)...)
	load := &app.Load{}
	if err := json.Unmarshal([]byte(stdout), load); err != nil {
		t.Fatalf("exit code %d, %v: %s%s", code, err, stdout, stderr)
	}
	if load.OK != each*concurrent {
		t.Errorf("%d of %d answered: %s", load.OK, load.Requests, load.FirstError)
	}
	t.Logf("%d in %v, the slowest %v", load.OK, load.Took, load.Slowest)
}

func geneveTransfer(t *testing.T, o Options, more ...string) {
	args := append([]string{"transfer", "--bytes", strconv.Itoa(bodyBytes), strings.TrimSuffix(callURL, "/")}, more...)
	code, stdout, stderr := ctl(t, "", inSleep(o, args...)...)
	if code != 0 {
		t.Errorf("exit code %d: %s", code, stderr)
	}
	t.Log(stdout)
}
