// SPDX-License-Identifier: Apache-2.0

package csr

import (
	"crypto/sha256"
	"encoding/hex"

	"k8s.io/apimachinery/pkg/util/validation"
)

// SignerName is whose requests these are. Only who may "sign" for it in the group
// certificates.k8s.io can answer them.
const SignerName = "ambient22.io/workload"

// The trust bundle, as the signer writes it.
const (
	DefaultBundle = "ambient22-trust-bundle" // name of the ConfigMap
	BundleKey     = "root-cert.pem"          // PEM, certificates only
)

// What requests carry for people and for the watch of the node that made them. The
// signer believes none of it.
const (
	LabelPartOf        = "app.kubernetes.io/part-of"
	PartOf             = "ambient22"
	LabelNode          = "ambient22.io/node"
	AnnotationIdentity = "ambient22.io/identity"
)

// NodeLabel is a node's name as a label's value, or a digest of it, because names
// of nodes may be longer than values of labels.
func NodeLabel(node string) string {
	if len(validation.IsValidLabelValue(node)) == 0 {
		return node
	}
	digest := sha256.Sum256([]byte(node))
	return "sha256-" + hex.EncodeToString(digest[:16])
}
