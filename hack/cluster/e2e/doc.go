// SPDX-License-Identifier: Apache-2.0

// Package e2e tests a cluster of package kube from outside, and the data path that is
// installed into it (TestMesh): each promise in a file of its own, on pods that all
// share. Its tests need a running cluster, so they are built only with the tag e2e;
// hack/e2e.sh starts the cluster and runs them in its network.
package e2e
