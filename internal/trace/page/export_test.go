// SPDX-License-Identifier: Apache-2.0

package page

import (
	"context"
	"testing"
)

// Tab, and what is below, lend the browser to tests of other pages in the same frame:
// packages that import this one, which its own tests can't import.
type Tab = tab

// Start starts a headless Chromium.
func Start(t *testing.T) context.Context { return start(t) }

// Open shows a page and waits until the element can be seen.
func Open(t *testing.T, browser context.Context, html, element string) *Tab {
	t.Helper()
	return openAt(t, browser, html, element)
}

// Eval runs a function's body in the page.
func Eval[T any](b *Tab, body string) T {
	b.t.Helper()
	return eval[T](b, body)
}

// Press presses keys, Screen sets the screen's size and colours, Quiet fails the test
// if the page asked for anything or complained.
func (b *tab) Press(keys ...string) { b.t.Helper(); b.press(keys...) }
func (b *tab) Screen(width, height int64, scheme string) {
	b.t.Helper()
	b.screen(width, height, scheme)
}
func (b *tab) Quiet() { b.t.Helper(); b.quiet() }

// What scripts find on a page: text with too little contrast, text that is too small.
const (
	Contrast  = contrast
	SmallText = smallText
)
