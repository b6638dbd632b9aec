// SPDX-License-Identifier: Apache-2.0

// Package wire writes protobuf messages that differ in a few strings, many times
// and fast.
//
// A message is built once in its typed form, with a Hole wherever a string will
// stand and a Splice wherever a list of fields will. Compile turns it into a
// Template: the deterministic wire form, cut at the holes, with a note of which
// length prefixes enclose each of them. Writing the template with real strings
// then only computes those lengths and copies what lies between. The result is,
// byte for byte, what proto.MarshalOptions{Deterministic: true} makes of the
// message with these strings in it.
//
// What has no hole and is long is not even copied: it goes into the result by
// reference. So a hundred thousand messages with the same long tail hold it once.
// Nor is what is written hashed: a digest is made from the template's and the strings.
package wire
