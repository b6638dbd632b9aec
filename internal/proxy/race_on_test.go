// SPDX-License-Identifier: Apache-2.0

//go:build race

package proxy

// large is less under the race detector, which makes everything ten times slower.
const large = 128 << 20
