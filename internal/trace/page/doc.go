// SPDX-License-Identifier: Apache-2.0

// Package page makes self-contained HTML pages of what the study tools found: no
// network, no external file, dark and light, usable with the keyboard alone.
package page
