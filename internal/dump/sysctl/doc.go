// SPDX-License-Identifier: Apache-2.0

// Package sysctl reads and prints lines "net.ipv4.ip_forward = 1".
package sysctl
