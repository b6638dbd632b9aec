// SPDX-License-Identifier: Apache-2.0

// Package e2e tests the cluster of package kube from outside, with kubectl. Its tests
// need a running cluster, so they are built only with the tag e2e; hack/e2e.sh starts
// the cluster and runs them in its network.
package e2e
