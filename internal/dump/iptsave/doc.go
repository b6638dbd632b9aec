// SPDX-License-Identifier: Apache-2.0

// Package iptsave reads and prints what iptables-save prints, versions 1.4 to
// 1.8 and both variants. What it models has a type; what it does not model it
// keeps word by word (Opaque, OpaqueTarget), prints again as it was, and says so:
// nothing is guessed. Print(Parse(text)) is text, byte for byte.
package iptsave
