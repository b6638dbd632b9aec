// SPDX-License-Identifier: Apache-2.0

// Package noderoute puts the data path's rules, routes and devices onto a node
// and into a ztunnel pod, and takes them off again.
//
// Everything goes the same way. PlanHost and PlanPod say, without touching
// anything, what should be there: tunnel devices, sysctls, the set of enrolled
// pods, iptables chains, ip rules and routes. A Listing is what is there. The
// difference between the two is a row of steps, ordered so that no moment in
// between misroutes anybody's packets: what carries captured packets comes
// before what captures them, and what is new comes before what is stale goes.
// Applying the steps takes one iptables-restore process with one atomic commit
// per table, and netlink in batches for all the rest. Where nothing differs,
// nothing is written.
//
// The kernel is the truth: a Node remembers nothing between calls except which
// iptables variant it decided for. What has to be put back some day (sysctls,
// iptables tables that did not exist) stands in a state file.
package noderoute
