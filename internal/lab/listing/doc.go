// SPDX-License-Identifier: Apache-2.0

// Package listing compares what a running system prints with the article's
// listings. It is pure: it reads the listings and their notes from a file
// system and the system's text from its caller, and produces no expected text
// of its own.
//
// A listing is reproduced when the output contains it, line by line and in
// order; README.md beside the listings names the few substitutions.
package listing
