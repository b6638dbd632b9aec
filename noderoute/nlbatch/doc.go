// SPDX-License-Identifier: Apache-2.0

// Package nlbatch speaks netlink in bulk. Many requests are laid out in one
// buffer and handed to the kernel in one sendmsg; only the last of them asks
// for an acknowledgement, because the kernel handles a buffer in order and
// reports a failing request whether or not it was asked to. Adding a thousand
// routes therefore costs a handful of system calls instead of thousands.
//
// The package knows nothing about routes, links or sets. It frames messages,
// nests attributes, matches answers to requests, and parses attributes.
package nlbatch
