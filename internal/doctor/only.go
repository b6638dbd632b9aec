// SPDX-License-Identifier: Apache-2.0

package doctor

import (
	"fmt"
	"slices"
	"strings"
)

// Only keeps the pods of that name in the reports: a pod's name, NAMESPACE/NAME, its
// deployment's name, or its address. A node without such a pod is left out. The
// error says where the pod is, or which there are.
func Only(reports []*Report, name string) ([]*Report, error) {
	for _, fits := range []func(ns, pod, ip string) bool{
		func(ns, pod, ip string) bool { return pod == name || ns+"/"+pod == name || ip == name },
		func(ns, pod, _ string) bool {
			return strings.HasPrefix(pod, name+"-") || strings.HasPrefix(ns+"/"+pod, name+"-")
		},
	} {
		var out []*Report
		for _, r := range reports {
			one := *r
			one.Pods = slices.DeleteFunc(slices.Clone(r.Pods), func(p Pod) bool { return !fits(p.Namespace, p.Name, p.IP) })
			if len(one.Pods) > 0 {
				out = append(out, &one)
			}
		}
		if len(out) > 0 {
			return out, nil
		}
		for _, r := range reports {
			for _, e := range r.Elsewhere {
				if fits(e.Namespace, e.Name, "-") {
					return nil, fmt.Errorf("pod %s/%s runs on node %s: run ambientctl doctor there, or give that node's dump", e.Namespace, e.Name, e.Node)
				}
			}
		}
	}
	hint := ""
	if slices.ContainsFunc(reports, nameless) {
		hint = " (where neither the node controller nor the ztunnel answers, pods are known by their addresses only)"
	}
	return nil, fmt.Errorf("there is no pod %s; there are: %s%s", name, labels(reports), hint)
}

func nameless(r *Report) bool {
	return slices.ContainsFunc(r.Pods, func(p Pod) bool { return p.Name == "" })
}

func labels(reports []*Report) string {
	var out []string
	for _, r := range reports {
		for i := range r.Pods {
			out = append(out, r.Pods[i].Label())
		}
	}
	if len(out) == 0 {
		return "none"
	}
	return strings.Join(out, ", ")
}
