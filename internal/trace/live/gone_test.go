// SPDX-License-Identifier: Apache-2.0

package live

import (
	"cmp"
	"fmt"
	"maps"
	"net/netip"
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"

	"github.com/ambient22/ambient22/internal/trace"
)

// A pod that was found by one of its processes is still there when that one has ended.
func TestPodsOutliveTheirProcesses(t *testing.T) {
	w := newWorld(t, "legacy")
	var process *exec.Cmd
	err := w.client.Do(func() error {
		process = exec.Command("sleep", "1000")
		return process.Start()
	})
	if err != nil {
		t.Fatal(err)
	}
	held, err := hold(fmt.Sprintf("/proc/%d/ns/net", process.Process.Pid))
	if err != nil {
		t.Fatal(err)
	}
	if err := process.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = process.Wait() // it was killed
	devices, err := held.devices()
	if err != nil {
		t.Fatal(err)
	}
	if !slices.Contains(slices.Collect(maps.Values(devices)), "eth0") {
		t.Errorf("the namespace has the devices %v", devices)
	}
}

// Where the kernel can't be asked, the packet is not called unroutable.
func TestNobodyToAsk(t *testing.T) {
	p := &Passage{In: "eth0", First: Header{Protocol: protoTCP, Dst: netip.MustParseAddrPort("10.0.0.1:80")}}
	p.Items = []Item{{Hook: trace.Prerouting, Seen: &Observation{Priority: atStart, Header: p.First}}}
	w := newWorld(t, "nft")
	teller := w.teller()
	teller.routes = kernelRoutes{Space{Name: "gone", Path: "/run/netns/there-is-no-such"}}
	var seen trace.Walk
	teller.tell(p, &seen, false)
	if seen.Verdict != trace.Unknown || len(seen.Doubt) != 1 || !strings.Contains(seen.Doubt[0], "could not be asked") {
		t.Errorf("verdict %v, doubts %q", seen.Verdict, seen.Doubt)
	}
}

// The logger is put back, unless somebody else has set another one meanwhile.
func TestLoggerOfSomebodyElse(t *testing.T) {
	w := newWorld(t, "legacy")
	for _, meanwhile := range []string{"", "NONE"} {
		var before, after string
		err := w.router.Do(func() error {
			before = loggerNow(t)
			l, err := setLogger()
			if err != nil {
				return err
			}
			if meanwhile != "" {
				if err := os.WriteFile(loggerFile, []byte(meanwhile), 0); err != nil {
					return err
				}
			}
			err = l.close()
			after = loggerNow(t)
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
		if want := cmp.Or(meanwhile, before); after != want {
			t.Errorf("before %q, meanwhile %q, after %q", before, meanwhile, after)
		}
	}
}

func loggerNow(t *testing.T) string {
	t.Helper()
	text, err := os.ReadFile(loggerFile)
	if err != nil {
		t.Error(err)
	}
	return strings.TrimSpace(string(text))
}
