// SPDX-License-Identifier: Apache-2.0

// Package doctor says per pod whether its traffic is captured, and if not, the
// first reason why; and per node what is wrong with it.
package doctor
