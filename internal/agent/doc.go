// SPDX-License-Identifier: Apache-2.0

// Package agent is the node controller: it follows the mesh and keeps two things
// true to it, the resources that the node's ztunnel is served and the rules and
// routes of the node it runs on.
//
// One loop does both, and in that order: a pod is captured only after the
// ztunnel has been offered the configuration that carries its traffic. Changes
// that come quickly after one another are handled together: the first is served
// after a moment, later ones once per interval; pods that only have to be let go
// do not wait for that. When the loop ends, the node is left as it is; only an
// explicit cleanup, or a node without a ready ztunnel, takes the data path down.
package agent
