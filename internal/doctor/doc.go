// SPDX-License-Identifier: Apache-2.0

// Package doctor says per pod whether its traffic is captured, and if not, the
// first reason why; and per node what is wrong with it. It asks the tracer for the
// way of a packet, the comparison with the plan for what differs, the ztunnel's
// configuration for what it was told, and the running programs how they do.
package doctor
