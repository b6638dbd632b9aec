// SPDX-License-Identifier: Apache-2.0

package xdsdiff

// addedByDump reports whether a field is what an Envoy's config_dump shows of a host
// whether or not it was served: the dump prints hosts as the load balancer holds
// them (listing 11).
func addedByDump(f *field) bool {
	if f.proto == nil {
		return false
	}
	switch f.proto.FullName() {
	case "envoy.config.endpoint.v3.LbEndpoint.health_status":
		return string(f.of.text(f.v)) == `"HEALTHY"`
	case "envoy.config.endpoint.v3.LbEndpoint.load_balancing_weight":
		return string(f.of.text(f.v)) == "1"
	case "envoy.config.endpoint.v3.ClusterLoadAssignment.Policy.overprovisioning_factor":
		return string(f.of.text(f.v)) == "140"
	case "envoy.config.endpoint.v3.LocalityLbEndpoints.locality",
		"envoy.config.endpoint.v3.Endpoint.health_check_config",
		"envoy.config.endpoint.v3.ClusterLoadAssignment.policy":
		if !f.of.fits(f.v) {
			return false
		}
		for _, inner := range f.of.fields(f.v) {
			if !addedByDump(&inner) {
				return false
			}
		}
		return true
	}
	return false
}
