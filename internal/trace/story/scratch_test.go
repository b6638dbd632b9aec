package story

import (
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/ambient22/ambient22/internal/dump"
	"github.com/ambient22/ambient22/internal/dump/dumptest"
)

func TestScratch(t *testing.T) {
	type mut struct {
		name string
		do   func(nodes []*dump.Node)
	}
	var muts []mut
	ref := dumptest.Open(t, dumptest.Geneve)
	spaces := func(n []*dump.Node) []*dump.Netns {
		return []*dump.Netns{n[0].Host, n[0].Ztunnel, n[1].Host, n[1].Ztunnel}
	}
	for i, ns := range spaces(ref) {
		for ti, tab := range ns.Legacy.Tables {
			for ci, c := range tab.Chains {
				for ri, r := range c.Rules {
					muts = append(muts, mut{fmt.Sprint(i, " del rule ", tab.Name, " ", ruleLine(r)), func(n []*dump.Node) {
						c := spaces(n)[i].Legacy.Tables[ti].Chains[ci]
						c.Rules = slices.Delete(c.Rules, ri, ri+1)
					}})
				}
			}
		}
		for ri, r := range ns.Rules {
			muts = append(muts, mut{fmt.Sprint(i, " del iprule ", r), func(n []*dump.Node) { spaces(n)[i].Rules = slices.Delete(spaces(n)[i].Rules, ri, ri+1) }})
		}
		for ri, r := range ns.Routes {
			if r.IPv6 || r.Table == 255 {
				continue
			}
			muts = append(muts, mut{fmt.Sprint(i, " del route ", r), func(n []*dump.Node) { spaces(n)[i].Routes = slices.Delete(spaces(n)[i].Routes, ri, ri+1) }})
		}
		for si, s := range ns.Sets {
			for ei, e := range s.Entries {
				muts = append(muts, mut{fmt.Sprint(i, " del entry ", e.Elem), func(n []*dump.Node) {
					s := spaces(n)[i].Sets[si]
					s.Entries = slices.Delete(s.Entries, ei, ei+1)
				}})
			}
		}
		for k, v := range ns.Sysctls {
			if strings.Contains(k, "rp_filter") || strings.Contains(k, "accept_local") || strings.Contains(k, "ip_forward") {
				flip := "1"
				if v == "1" {
					flip = "0"
				}
				muts = append(muts, mut{fmt.Sprint(i, " sysctl ", k, "=", flip), func(n []*dump.Node) { spaces(n)[i].Sysctls[k] = flip }})
			}
		}
		for li, l := range ns.Links {
			muts = append(muts, mut{fmt.Sprint(i, " del link ", l.Name), func(n []*dump.Node) { spaces(n)[i].Links = slices.Delete(spaces(n)[i].Links, li, li+1) }})
		}
	}
	for _, m := range muts {
		nodes := dumptest.Open(t, dumptest.Geneve)
		m.do(nodes)
		mesh, err := New(nodes)
		if err != nil {
			t.Fatal(err)
		}
		to := os.Getenv("TO")
		if to == "" {
			to = "productpage:9080"
		}
		from := os.Getenv("FROM")
		if from == "" {
			from = "sleep"
		}
		s, err := mesh.Trace(Query{From: from, To: to, ExplainMiss: true})
		if err != nil {
			fmt.Println("!!", m.name, err)
			continue
		}
		if s.Outcome.Delivered && s.Outcome.Tunnelled && !strings.Contains(s.Miss.Sentence, "changed its dest") && len(s.Doubts) == 0 {
			fmt.Println("ok", m.name)
			continue
		}
		fmt.Printf("** %s\n     %+v\n     miss %s [%s] %v\n", m.name, s.Outcome, s.Miss.Sentence, s.Miss.Stop, s.Doubts)
	}
}
