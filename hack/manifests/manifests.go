// SPDX-License-Identifier: Apache-2.0

// Package manifests has the chart rendered to plain manifests (hack/manifests.sh),
// for those who have neither Helm nor ambientctl.
package manifests

import (
	"embed"
	"io/fs"
)

//go:embed *.yaml
var files embed.FS

// Files are the manifests, one file for each way to set the chart up.
func Files() fs.FS { return files }
