// SPDX-License-Identifier: Apache-2.0

package doctor

import (
	"cmp"
	"slices"
	"time"

	"github.com/ambient22/ambient22/internal/dump"
	"github.com/ambient22/ambient22/noderoute"
)

// Input is what the doctor looks at.
type Input struct {
	Node *dump.Node
	// Live is what the running programs say; nil where there is only a dump.
	Live *Live
	// Preflight is what stands in the way on the node; nil where nobody looked.
	Preflight *Preflight
	// Now is the time at which certificates are judged.
	Now time.Time
}

// Preflight is what noderoute's preflight found, or why it could not look.
type Preflight struct {
	Problems []noderoute.Problem
	Err      error
}

// State is how something does.
type State string

// The states of a check.
const (
	OK      State = "ok"
	Wrong   State = "wrong"
	Note    State = "note"    // worth a look, and nothing is broken
	Unknown State = "unknown" // it could not be looked at
)

// Report is the doctor's finding about one node.
type Report struct {
	Version int     `json:"version"` // of this format: 1
	Node    string  `json:"node"`
	Source  string  `json:"source"` // "node" or "dump"
	Checks  []Check `json:"checks"`
	Pods    []Pod   `json:"pods"`
	// Elsewhere are the pods that run on other nodes: their doctors know of them.
	Elsewhere []Elsewhere `json:"-"`
}

// Elsewhere is a pod of another node.
type Elsewhere struct{ Namespace, Name, Node string }

// Check is one thing about the node.
type Check struct {
	Name  string `json:"name"` // "controller", "ztunnel", "preflight", "data path", "certificates", "configuration"
	State State  `json:"state"`
	Text  string `json:"text"`
	// Details are single lines, rules or resources.
	Details []string `json:"details,omitempty"`
	Remedy  string   `json:"remedy,omitempty"`
}

// Capture says whether a pod's traffic goes through the ztunnel.
type Capture string

// The ways a pod can stand to the mesh.
const (
	// Captured: what it sends and what is sent to it goes through the ztunnel.
	Captured Capture = "captured"
	// Missed should be captured and is not, or in one direction only.
	Missed Capture = "missed"
	// Cut is captured, and does not get through the mesh.
	Cut Capture = "cut off"
	// Outside takes no part, as its labels or its kind want it.
	Outside Capture = "outside"
	// Astray is captured and should not be.
	Astray Capture = "astray"
	// Unclear: what there is to look at does not tell.
	Unclear Capture = "unclear"
)

// Pod is one pod of the node.
type Pod struct {
	Namespace string  `json:"namespace,omitempty"`
	Name      string  `json:"name,omitempty"`
	IP        string  `json:"ip,omitempty"`
	Capture   Capture `json:"capture"`
	// Reasons say why it is not captured, or gets nowhere: the first one along a
	// packet's way first. None for a captured pod.
	Reasons []Reason `json:"reasons,omitempty"`
}

// Reason is one reason.
type Reason struct {
	Text   string `json:"text"`
	Remedy string `json:"remedy,omitempty"`
	// Line is the rule, route or entry that it shows at, of File.
	Line   string `json:"line,omitempty"`
	File   string `json:"file,omitempty"`
	LineNo int    `json:"lineNo,omitempty"`
}

// Wrong tells that the pod is not as the mesh wants it.
func (p *Pod) Wrong() bool { return p.Capture != Captured && p.Capture != Outside }

// Label is the pod's name for people.
func (p *Pod) Label() string {
	switch {
	case p.Name == "":
		return p.IP
	case p.Namespace == "":
		return p.Name
	}
	return p.Namespace + "/" + p.Name
}

// Faults is how many things are wrong.
func (r *Report) Faults() int {
	n := 0
	for _, c := range r.Checks {
		if c.State == Wrong {
			n++
		}
	}
	for i := range r.Pods {
		if r.Pods[i].Wrong() {
			n++
		}
	}
	return n
}

func (r *Report) sort() {
	slices.SortStableFunc(r.Pods, func(a, b Pod) int { return cmp.Compare(a.Label(), b.Label()) })
}
