// SPDX-License-Identifier: Apache-2.0

// Package xdsdiff compares the xDS resources in two JSON files: config_dumps of an
// Envoy or of the embedded proxy, sections or entries of one, and rendered lists.
//
// Resources are matched by kind and name, and what is inside them by the meaning
// its protobuf type gives it: field names in either spelling, keys in any order, a
// default value and none are equal, "2s" and "2.000s" are, and a list of named things
// is matched by the names. What no type is known for is compared as plain JSON.
//
// A file is read once as a stream, to learn where each resource stands; after that
// only one pair of resources that differ is in memory at a time. So a file may be
// much larger than the memory, as long as its largest resource is not.
package xdsdiff
