// SPDX-License-Identifier: Apache-2.0

// Package collect takes a dump from a running node.
package collect
