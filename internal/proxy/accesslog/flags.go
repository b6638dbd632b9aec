// SPDX-License-Identifier: Apache-2.0

package accesslog

// Response flags: the short codes with which Envoy tells why an exchange ended
// otherwise than in order.
const (
	FlagNoHealthyUpstream              = "UH"    // no host of the cluster can be used
	FlagUpstreamConnectionFailure      = "UF"    // the upstream connection could not be made
	FlagUpstreamConnectionTermination  = "UC"    // the upstream connection was lost
	FlagUpstreamRemoteReset            = "UR"    // the upstream reset the stream
	FlagLocalReset                     = "LR"    // this proxy reset the stream
	FlagUpstreamRequestTimeout         = "UT"    // the upstream took too long
	FlagUpstreamOverflow               = "UO"    // a circuit breaker was open
	FlagUpstreamRetryLimitExceeded     = "URX"   // retries or connect attempts used up
	FlagUpstreamMaxStreamDuration      = "UMSDR" // the stream lasted longer than allowed
	FlagUpstreamProtocolError          = "UPE"   // the upstream broke HTTP
	FlagNoRouteFound                   = "NR"    // no route, or no filter chain, matched
	FlagNoClusterFound                 = "NC"    // the route's cluster does not exist
	FlagDownstreamConnectionTerminated = "DC"    // the downstream connection was lost
	FlagDownstreamProtocolError        = "DPE"   // the downstream broke HTTP
	FlagDurationTimeout                = "DT"    // a maximum duration was exceeded
	FlagUnauthorizedExternalService    = "UAEX"  // an authorization service said no
	FlagStreamIdleTimeout              = "SI"    // nothing happened for too long
	FlagRateLimited                    = "RL"    // a rate limit was reached
	FlagFailedLocalHealthCheck         = "LH"    // the local service was unhealthy
	FlagDelayInjected                  = "DI"    // a delay was injected
	FlagFaultInjected                  = "FI"    // an abort was injected
	FlagInvalidEnvoyHeader             = "IH"    // a strictly checked header was invalid
	FlagOverloadManager                = "OM"    // the overload manager ended it
)
