// SPDX-License-Identifier: Apache-2.0

package nodediff

// Generation is one generation of Istio's interception that a namespace shows.
type Generation struct {
	Name  string `json:"name"`  // one of the constants below
	Space string `json:"space"` // where: "host", "ztunnel", "NAMESPACE/NAME"
	// Variant is what its rules look like in particular: "TPROXY", "hardened, DNS capture".
	Variant string `json:"variant,omitempty"`
	// Evidence are the lines that it is known by.
	Evidence []Evidence `json:"evidence"`
	// Parameters are what differs from one node or pod to the next.
	Parameters []Parameter `json:"parameters"`
	// Have of Want lines that it is made of are there as they should be.
	Have int `json:"have"`
	Want int `json:"want"`
	// Note says what could not be found out; empty where nothing is missing.
	Note string `json:"note,omitempty"`
}

// The generations.
const (
	Geneve  = "legacy Geneve ambient"
	Sidecar = "sidecar"
	InPod   = "in-pod ambient"
)

// Evidence is a line that something is known by.
type Evidence struct {
	Line   string `json:"line"`
	File   string `json:"file,omitempty"`
	LineNo int    `json:"lineNo,omitempty"`
	Says   string `json:"says"` // what it says, or the value that it gives
}

// Parameter is a value that was found in the dump, or given.
type Parameter struct {
	Name  string `json:"name"` // "ztunnel IP", "veth", ...
	Value string `json:"value"`
	// Given tells that a flag set it; Sources are then what the dump says.
	Given   bool       `json:"given,omitempty"`
	Sources []Evidence `json:"sources,omitempty"`
}
