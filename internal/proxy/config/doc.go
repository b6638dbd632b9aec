// SPDX-License-Identifier: Apache-2.0

// Package config turns xDS resources into what the proxy executes. Decoding is
// strict: a resource that sets anything outside the schema in schema.go, or a
// value that would not be honoured, is refused with the field's path, and so is
// one that Envoy itself would refuse. What comes out is plain immutable data;
// the package does no I/O.
package config
