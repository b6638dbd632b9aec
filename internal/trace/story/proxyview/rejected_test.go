// SPDX-License-Identifier: Apache-2.0

package proxyview

import (
	"slices"
	"testing"
)

// TestRejected has a rejection in every list that can have one; an entry that was
// never accepted has nothing but its name, or not even that.
func TestRejected(t *testing.T) {
	p, err := Read([]byte(`{"configs": [
		{"@type": "x/ClustersConfigDump", "dynamic_active_clusters": [
			{"cluster": {"name": "a"}, "error_state": {"details": "no a"}},
			{"cluster": {"name": "b"}},
			{"error_state": {"details": "no name"}}]},
		{"@type": "x/ListenersConfigDump", "dynamic_listeners": [
			{"name": "new", "error_state": {"details": "no filter"}}]},
		{"@type": "x/EndpointsConfigDump", "dynamic_endpoint_configs": [
			{"endpoint_config": {"cluster_name": "a"}, "error_state": {"details": "no port"}}]},
		{"@type": "x/EcdsConfigDump", "ecds_filters": [
			{"ecds_filter": {"name": "workloads"}, "error_state": {"details": "no address"}}]},
		{"@type": "x/SecretsConfigDump", "dynamic_active_secrets": [
			{"name": "root", "error_state": {"details": "no PEM"}}]}
	]}`))
	if err != nil {
		t.Fatal(err)
	}
	want := []string{"a: no a", "a resource without a name: no name", "new: no filter", "a: no port", "workloads: no address", "root: no PEM"}
	if got := p.Rejected(); !slices.Equal(got, want) {
		t.Errorf("rejected are %q, want %q", got, want)
	}
}
