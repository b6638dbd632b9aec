// SPDX-License-Identifier: Apache-2.0

package deploy

import "github.com/ambient22/ambient22/internal/mesh"

const (
	// Namespace is where all objects are that have one.
	Namespace = mesh.RootNamespace
	// Manager owns the fields that Install writes.
	Manager = "ambientctl"

	// LabelPartOf is on every object of ours, with the value PartOf.
	LabelPartOf = "app.kubernetes.io/part-of"
	// PartOf is that value.
	PartOf = "ambient22"

	// AnnotationCreated is on a namespace that Install made. Uninstall removes no
	// other.
	AnnotationCreated = "ambient22.io/created-by"

	// SignerName is the signer that workload certificates are asked of.
	SignerName = "ambient22.io/workload"
)

// Names of our objects.
const (
	NodeController = "ambient-node" // DaemonSet
	Ztunnel        = "ztunnel"      // DaemonSet
	Signer         = "ambient-signer"
	Plugin         = "ambient-cni"
	cleaner        = "ambient22-cleanup" // DaemonSet, while Uninstall runs
	pluginKeeper   = "cni"               // container of NodeController's pods

	configName  = "ambient22-config"
	settingMode = "mode"
)

// annotation marks a captured pod.
const annotation = mesh.AnnotationRedirection

// partOf selects our objects.
const partOf = LabelPartOf + "=" + PartOf

// components are those whose events Uninstall removes.
func components() []string { return []string{NodeController, Signer, Plugin, Ztunnel, cleaner} }
