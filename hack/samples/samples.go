// SPDX-License-Identifier: Apache-2.0

// Package samples has workloads to try the data path with, as manifests.
package samples

import _ "embed"

//go:embed bookinfo.yaml
var bookinfo string

// Bookinfo is the article's two workloads, sleep and productpage, in a namespace of
// their own that takes part in the mesh.
func Bookinfo() string { return bookinfo }
