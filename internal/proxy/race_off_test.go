// SPDX-License-Identifier: Apache-2.0

//go:build !race

package proxy

// large is how much the largest transfer moves each way.
const large = 1 << 30
