// SPDX-License-Identifier: Apache-2.0

// Package mesh is the model that everything else is derived from: the nodes,
// workloads and services of one mesh at one moment, and who of them takes part.
//
// A Snapshot is a plain value. Sources (manifest files, the Kubernetes API) fill
// it, the node plan and the xDS builders read it, and nobody changes one that
// has been handed out. The package does no I/O and knows no Kubernetes types.
package mesh
