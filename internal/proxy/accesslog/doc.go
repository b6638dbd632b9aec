// SPDX-License-Identifier: Apache-2.0

// Package accesslog turns Envoy's format strings into text: the lines of an
// access log, and likewise the hostnames and header values of tunnels, which
// are written in the same language (listings 09, 12 and 19).
//
// [Parse] reads a format once; it names what it does not know, because a
// configuration with an operator that prints nothing would be accepted and never
// work. [Format.Append] then fills in one [Entry].
package accesslog
