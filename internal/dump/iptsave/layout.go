// SPDX-License-Identifier: Apache-2.0

package iptsave

// layout is what stands around the rules.
type layout struct{}
