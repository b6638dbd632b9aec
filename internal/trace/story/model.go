// SPDX-License-Identifier: Apache-2.0

// Package story joins the walks through several network namespaces to one
// packet's way: from a pod through its node, the Geneve device, the ztunnel's
// pod, the ztunnel's listeners and clusters, the tunnel to the other node, and
// back.
package story

// Story is one packet's way, and its answer's. It is what trace prints as text,
// JSON and as a page.
type Story struct {
	Version int     `json:"version"` // of this format: 1
	Source  string  `json:"source"`  // "dump" or "live"
	From    End     `json:"from"`
	To      End     `json:"to"`
	Outcome Outcome `json:"outcome"`
	Legs    []Leg   `json:"legs"`
	// Remarks are what is not as it should be, although the packet gets through.
	Remarks []string `json:"remarks,omitempty"`
	// Doubts are what the tracer could not know, in sentences.
	Doubts []string `json:"doubts,omitempty"`
	// Miss explains why the packet was not captured (--explain-miss).
	Miss *Miss `json:"miss,omitempty"`
	// Timeline is when it happened, of a live story.
	Timeline []Moment `json:"timeline,omitempty"`
}

// End is one end of the way.
type End struct {
	Name    string `json:"name"`    // "default/sleep-5644bdc767-2dfg7", "productpage"
	Address string `json:"address"` // "10.4.4.19:40000", "10.8.14.226:9080"
	Node    string `json:"node,omitempty"`
}

// Outcome is the story's end in a few words.
type Outcome struct {
	Captured  bool `json:"captured"`  // went through the ztunnel of its node
	Tunnelled bool `json:"tunnelled"` // went through HBONE
	Delivered bool `json:"delivered"` // arrived at To
	// Unknown: the dumps don't tell how it ends. Then Delivered says nothing.
	Unknown bool `json:"unknown,omitempty"`
	// Again: it is told of the first packet, which is lost. The same packet sent again a
	// second later gets through, because its connection is marked by then.
	Again    bool   `json:"again,omitempty"`
	Sentence string `json:"sentence"`
}

// Leg is one packet's way between two ends that terminate TCP: from the client
// to ztunnel A, from ztunnel A to ztunnel B, from ztunnel B to the server, and the
// answers of each.
type Leg struct {
	ID     string `json:"id"`     // "1", "1-answer", "2", ...
	Title  string `json:"title"`  // "sleep to ztunnel A, captured"
	Answer bool   `json:"answer"` // the opposite direction
	Packet string `json:"packet"` // "TCP SYN 10.4.4.19:40000 → 10.8.14.226:9080"
	Stops  []Stop `json:"stops"`
}

// Stop is one step, as a person reads it.
type Stop struct {
	ID    string `json:"id"` // unique in the story: "1.12"
	Place Place  `json:"place"`
	// Kind is "hook", "rule", "policy", "conntrack", "nat", "iprule", "route",
	// "filter", "device", "tunnel", "tproxy", "socket", "listener", "filterchain",
	// "cluster", "endpoint", "hbone", "verdict".
	Kind string `json:"kind"`
	// Matched: a rule or ip rule that matched, or a step that is no question.
	// Rules that did not match are in the story too; text shows them with --all.
	Matched bool `json:"matched"`
	// Decisive stops are what a reader needs; text shows the others with --all only.
	Decisive bool   `json:"decisive"`
	Text     string `json:"text"`           // one sentence
	Why      string `json:"why,omitempty"`  // why it matched, or what did not
	Line     string `json:"line,omitempty"` // the rule's, route's or resource's own line
	File     string `json:"file,omitempty"` // of the dump
	LineNo   int    `json:"lineNo,omitempty"`
	// Marks as "0x100", before and after; empty where the step has none.
	Mark          string `json:"mark,omitempty"`
	MarkAfter     string `json:"markAfter,omitempty"`
	Connmark      string `json:"connmark,omitempty"`
	ConnmarkAfter string `json:"connmarkAfter,omitempty"`
}

// Place is where a step happens.
type Place struct {
	Node  string `json:"node"`            // "node-a"; "" on the way between nodes
	Space string `json:"space"`           // "host", "ztunnel", "pod", "link"
	Pod   string `json:"pod,omitempty"`   // the pod's name where Space is "pod"
	Hook  string `json:"hook,omitempty"`  // "PREROUTING", ...
	Table string `json:"table,omitempty"` // "mangle", "nat", "routing", "proxy"
	Chain string `json:"chain,omitempty"`
	// Device is the device that the packet comes in by or leaves by at this step.
	Device string `json:"device,omitempty"`
}

// Miss says why a packet was not captured.
type Miss struct {
	Captured bool `json:"captured"` // it was, after all
	// Unknown: the dumps don't tell. Then Captured says nothing.
	Unknown bool `json:"unknown,omitempty"`
	// Again: it is told of the first packet, which is lost. The same packet sent again a
	// second later gets through, because its connection is marked by then.
	Again    bool   `json:"again,omitempty"`
	Sentence string `json:"sentence"`       // the first reason
	Stop     string `json:"stop,omitempty"` // the step where it went another way
	Remedy   string `json:"remedy,omitempty"`
}
