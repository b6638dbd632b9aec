// SPDX-License-Identifier: Apache-2.0

// Package ipset keeps one IP set of the kernel as wanted: what should be there
// is a Set, List reads what is there, Diff compares the two without touching
// anything, and Apply makes the change with a few netlink messages, each
// holding hundreds of entries.
package ipset
