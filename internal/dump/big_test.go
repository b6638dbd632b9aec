// SPDX-License-Identifier: Apache-2.0

package dump_test

import (
	"fmt"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/ambient22/ambient22/internal/dump"
	"github.com/ambient22/ambient22/internal/dump/iptsave/gen"
)

// A node with 50,000 rules of kube-proxy, 100,000 connections and 250 pods is, on a
// quiet machine, opened in a second, and keeps less than 100 MB.
func TestABigNodeIsOpenedQuickly(t *testing.T) {
	const rules, conns, pods = 50_000, 100_000, 250
	a := &dump.Archive{Header: dump.Header{Node: "big"}}
	a.Add(dump.HostSpace, dump.KindNFTSave, gen.KubeProxy(gen.For(rules)), "")
	var b strings.Builder
	for i := range conns {
		fmt.Fprintf(&b, "tcp      6 431999 ESTABLISHED src=10.4.%d.%d dst=10.8.0.%d sport=%d dport=9080 src=10.4.3.20 dst=10.4.4.18 sport=9080 dport=%d [ASSURED] mark=0 use=1\n",
			i>>8&0xff, i&0xff, i%250, 1024+i%60000, 1024+i%60000)
	}
	a.Add(dump.HostSpace, dump.KindConns, b.String(), "")
	for i := range pods {
		a.Add(fmt.Sprintf("default/pod-%d", i), dump.KindRules, someRules, "")
	}
	path := filepath.Join(t.TempDir(), "big.tar.gz")
	if err := dump.WriteTo(path, a); err != nil {
		t.Fatal(err)
	}
	var before, after runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	start := time.Now()
	n, err := dump.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	took := time.Since(start)
	runtime.GC()
	runtime.ReadMemStats(&after)
	got := 0
	for _, table := range n.Host.NFT.Tables {
		for _, chain := range table.Chains {
			got += len(chain.Rules)
		}
	}
	kept, all := (after.HeapAlloc-before.HeapAlloc)>>20, (after.TotalAlloc-before.TotalAlloc)>>20
	t.Logf("%d rules, %d connections and %d pods: %v, %d MB kept of %d MB", got, len(n.Host.Conns), len(n.Pods), took.Round(time.Millisecond), kept, all)
	if got < rules*9/10 || len(n.Host.Conns) != conns || len(n.Pods) != pods {
		t.Errorf("%d rules, %d connections, %d pods", got, len(n.Host.Conns), len(n.Pods))
	}
	// Loosely, because the machine may be busy with other things.
	if kept > 500 || took > 20*time.Second {
		t.Errorf("it took %v and keeps %d MB", took, kept)
	}
}
