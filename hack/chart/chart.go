// SPDX-License-Identifier: Apache-2.0

// Package chart is the Helm chart that deploys ambient22, and renders it with Helm's
// own engine: what comes out is what "helm template" prints.
package chart

import (
	"bytes"
	"embed"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path"
	"slices"
	"strings"

	"helm.sh/helm/v4/pkg/chart/common"
	"helm.sh/helm/v4/pkg/chart/common/util"
	"helm.sh/helm/v4/pkg/chart/loader/archive"
	chartv2 "helm.sh/helm/v4/pkg/chart/v2"
	"helm.sh/helm/v4/pkg/chart/v2/loader"
	"helm.sh/helm/v4/pkg/engine"
	"helm.sh/helm/v4/pkg/strvals"
	"sigs.k8s.io/yaml"

	"github.com/ambient22/ambient22/internal/mesh"
)

//go:embed Chart.yaml values.yaml values.schema.json all:templates
var files embed.FS

// release is the name that the chart is rendered under; no object carries it.
const release = "ambient22"

// notes is the template that Helm shows to the person who installs.
const notes = "NOTES.txt"

// Output is a rendered chart.
type Output struct {
	Manifest []byte // a stream of YAML documents
	Notes    string // for the person who installs
}

// Values gathers settings for Render as Helm does: the YAML files at these paths, in
// order, and over them assignments such as "tunnel=vxlan" or "cni.enabled=true".
func Values(paths, assignments []string) (map[string]any, error) {
	values := map[string]any{}
	for _, p := range paths {
		text, err := os.ReadFile(p)
		if err != nil {
			return nil, fmt.Errorf("reading values: %w", err)
		}
		layer := map[string]any{}
		if err := yaml.Unmarshal(text, &layer); err != nil {
			return nil, fmt.Errorf("reading values from %s: %w", p, err)
		}
		values = loader.MergeMaps(values, layer)
	}
	for _, a := range assignments {
		if err := strvals.ParseInto(a, values); err != nil {
			return nil, fmt.Errorf("reading the value %q: %w", a, err)
		}
	}
	return values, nil
}

// Render is the chart with these values over its defaults. A value that the chart
// does not have, or that cannot be, is an error that names it.
func Render(values map[string]any) (Output, error) {
	c, err := load()
	if err != nil {
		return Output{}, err
	}
	options := common.ReleaseOptions{Name: release, Namespace: mesh.RootNamespace, Revision: 1, IsInstall: true}
	all, err := util.ToRenderValues(c, values, options, common.DefaultCapabilities)
	if err != nil {
		return Output{}, fmt.Errorf("checking the chart's values: %w", err)
	}
	rendered, err := engine.Render(c, all)
	if err != nil {
		return Output{}, fmt.Errorf("rendering the chart: %w", err)
	}
	var out Output
	var manifest bytes.Buffer
	for _, name := range slices.SortedFunc(maps.Keys(rendered), inOrder) {
		text := strings.TrimSpace(rendered[name])
		switch {
		case path.Base(name) == notes:
			out.Notes = text + "\n"
		case text != "":
			fmt.Fprintf(&manifest, "---\n%s\n", text)
		}
	}
	out.Manifest = manifest.Bytes()
	return out, nil
}

// inOrder puts the namespace first and the workloads after what they refer to.
func inOrder(a, b string) int {
	rank := func(name string) string {
		switch base := path.Base(name); base {
		case "namespace.yaml":
			return "0"
		case "quota.yaml":
			return "1"
		default:
			return "2" + base
		}
	}
	return strings.Compare(rank(a), rank(b))
}

// load reads the embedded chart.
func load() (*chartv2.Chart, error) {
	var all []*archive.BufferedFile
	err := fs.WalkDir(files, ".", func(name string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		text, err := files.ReadFile(name)
		all = append(all, &archive.BufferedFile{Name: name, Data: text})
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("reading the chart: %w", err)
	}
	c, err := loader.LoadFiles(all)
	if err != nil {
		return nil, fmt.Errorf("reading the chart: %w", err)
	}
	return c, nil
}
