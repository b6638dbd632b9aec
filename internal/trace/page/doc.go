// SPDX-License-Identifier: Apache-2.0

// Package page makes self-contained HTML pages of what the study tools found: no
// network, no external file, dark and light, usable with the keyboard alone. Every
// page carries a Content-Security-Policy that allows its own style sheet and
// script and nothing else, so that a dump that was made to harm shows its text.
package page
