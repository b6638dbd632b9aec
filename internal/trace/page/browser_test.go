// SPDX-License-Identifier: Apache-2.0

package page

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/chromedp/cdproto/cdp"
	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/cdproto/log"
	"github.com/chromedp/cdproto/network"
	"github.com/chromedp/cdproto/page"
	"github.com/chromedp/cdproto/runtime"
	"github.com/chromedp/chromedp"
	"github.com/chromedp/chromedp/kb"

	"github.com/ambient22/ambient22/internal/trace/story"
)

var update = flag.Bool("update", false, "write the screenshot docs/trace.png")

// start starts a headless Chromium. Where there is none, the test says so and is
// passed by: hack/install-deps.sh installs it.
func start(t *testing.T) context.Context {
	t.Helper()
	path, err := exec.LookPath("chromium")
	if errors.Is(err, exec.ErrNotFound) {
		t.Skip("chromium is not installed; hack/install-deps.sh installs it")
	}
	options := append(slices.Clone(chromedp.DefaultExecAllocatorOptions[:]),
		chromedp.ExecPath(path),
		chromedp.NoSandbox, // Chromium refuses its sandbox to root
		chromedp.DisableGPU,
		// Names and proxies of the machine's network are out of reach.
		chromedp.Flag("host-resolver-rules", "MAP * ~NOTFOUND, EXCLUDE 127.0.0.1"),
		chromedp.Flag("no-proxy-server", true),
		chromedp.WSURLReadTimeout(2*time.Minute),
	)
	ctx, cancel := chromedp.NewExecAllocator(t.Context(), options...)
	t.Cleanup(cancel)
	ctx, cancel = chromedp.NewContext(ctx)
	t.Cleanup(cancel)
	if err := chromedp.Do(ctx); err != nil {
		t.Fatal(err)
	}
	return ctx
}

// tab is one page in the browser. It notes what a page must not have: requests for
// anything but itself, and messages on the console.
type tab struct {
	t   *testing.T
	ctx context.Context
	url string

	mu       sync.Mutex
	requests []string
	messages []string
}

// open shows a story's page in a tab of its own.
func open(t *testing.T, browser context.Context, html string) *tab {
	t.Helper()
	return openAt(t, browser, html, "#says")
}

// openAt shows a page in a tab of its own, and waits until an element can be seen.
func openAt(t *testing.T, browser context.Context, html, element string) *tab {
	t.Helper()
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/" {
			http.NotFound(w, r)
			return
		}
		w.Header().Set("Content-Type", "text/html; charset=utf-8")
		fmt.Fprint(w, html)
	}))
	t.Cleanup(server.Close)
	ctx, cancel := chromedp.NewContext(browser)
	t.Cleanup(cancel)
	b := &tab{t: t, ctx: ctx, url: server.URL + "/"}
	if err := chromedp.Listen(ctx, b.note); err != nil {
		t.Fatal(err)
	}
	call(b, network.Enable, network.EnableParams{})
	call(b, runtime.Enable, cdp.Empty{})
	call(b, log.Enable, cdp.Empty{})
	b.screen(1280, 800, "light")
	b.do(chromedp.Navigate(b.url), chromedp.WaitVisible(chromedp.CSS(element)))
	return b
}

func (b *tab) note(event any) {
	b.mu.Lock()
	defer b.mu.Unlock()
	switch e := event.(type) {
	case *network.EventRequestWillBeSent:
		if e.Request.URL != b.url && e.Request.URL != b.url+"favicon.ico" {
			b.requests = append(b.requests, e.Request.URL)
		}
	case *runtime.EventConsoleAPICalled:
		b.messages = append(b.messages, string(e.Type))
	case *runtime.EventExceptionThrown:
		b.messages = append(b.messages, e.ExceptionDetails.Text)
	case *log.EventEntryAdded:
		if !strings.HasSuffix(e.Entry.URL, "/favicon.ico") {
			b.messages = append(b.messages, e.Entry.Text)
		}
	}
}

func call[P, R any](b *tab, c cdp.Command[P, R], params P) R {
	b.t.Helper()
	r, err := chromedp.Call(b.ctx, c, params)
	if err != nil {
		b.t.Fatal(err)
	}
	return r
}

func (b *tab) do(steps ...chromedp.Action[chromedp.Void]) {
	b.t.Helper()
	if err := chromedp.Do(b.ctx, steps...); err != nil {
		b.t.Fatal(err)
	}
}

// eval runs a function's body in the page and gives what it returns.
func eval[T any](b *tab, body string) T {
	b.t.Helper()
	v, err := chromedp.Run(b.ctx, chromedp.Evaluate[T]("(() => {"+body+"})()"))
	if err != nil {
		b.t.Fatal(err)
	}
	return v
}

func (b *tab) press(keys ...string) {
	b.t.Helper()
	for _, k := range keys {
		b.do(chromedp.KeyEvent(k))
	}
}

func (b *tab) current() string {
	b.t.Helper()
	return eval[string](b, `return document.querySelector("[aria-current]").dataset.id`)
}

// show goes to a step by the page's address.
func (b *tab) show(id string) {
	b.t.Helper()
	b.do(chromedp.Evaluate[chromedp.Void](fmt.Sprintf("location.hash = %q", "#"+id)),
		chromedp.Poll[chromedp.Void](fmt.Sprintf("document.querySelector('[aria-current]').dataset.id === %q", id), chromedp.WithPollingTimeout(time.Minute)))
}

// quiet fails the test if the page asked for anything, or complained.
func (b *tab) quiet() {
	b.t.Helper()
	b.mu.Lock()
	defer b.mu.Unlock()
	if len(b.requests) > 0 || len(b.messages) > 0 {
		b.t.Errorf("the page asked for %q and wrote to the console %q", b.requests, b.messages)
	}
}

func (b *tab) screen(width, height int64, scheme string) {
	b.t.Helper()
	call(b, emulation.SetDeviceMetricsOverride, emulation.SetDeviceMetricsOverrideParams{Width: width, Height: height, DeviceScaleFactor: 1, Mobile: width < 600})
	call(b, emulation.SetEmulatedMedia, emulation.SetEmulatedMediaParams{Features: []*emulation.MediaFeature{{Name: "prefers-color-scheme", Value: scheme}}})
}

// TestBrowser opens pages in a real browser, clicks, types and looks.
func TestBrowser(t *testing.T) {
	browser := start(t)
	t.Run("EveryStep", func(t *testing.T) { everyStep(t, browser) })
	t.Run("Timeline", func(t *testing.T) { timeline(t, browser) })
	t.Run("Keyboard", func(t *testing.T) { keyboard(t, browser) })
	t.Run("Link", func(t *testing.T) { link(t, browser) })
	t.Run("Contrast", func(t *testing.T) { contrasts(t, browser) })
	t.Run("Narrow", func(t *testing.T) { narrow(t, browser) })
	t.Run("Print", func(t *testing.T) { printed(t, browser) })
	t.Run("Hostile", func(t *testing.T) { hostileTexts(t, browser) })
	if *update {
		t.Run("Screenshot", func(t *testing.T) { screenshot(t, browser) })
	}
}

// clickAll clicks every step and looks whether the panel says what the list says of
// it: its sentence, its place, its line. It gives what is wrong.
const clickAll = `
const wrong = [];
for (const box of ["others", "misses"]) if (!document.getElementById(box).checked) document.getElementById(box).click();
const seen = (e) => { const r = e.getBoundingClientRect(); return r.width > 0 && r.height > 0; };
for (const step of document.querySelectorAll("li.step")) {
  const link = step.querySelector("a");
  if (!seen(link)) { wrong.push(step.dataset.id + " can't be seen"); continue; }
  link.click();
  const panel = document.getElementById("current");
  if (document.querySelectorAll("[aria-current]").length !== 1 || !step.hasAttribute("aria-current")) wrong.push(step.dataset.id + " isn't current");
  if (location.hash !== "#" + step.dataset.id) wrong.push(step.dataset.id + " isn't the address's");
  if (document.getElementById("says").textContent !== step.querySelector(".says").textContent) wrong.push(step.dataset.id + " says something else");
  const line = step.querySelector(".line code");
  if (line) {
    const shown = panel.querySelector(".line code");
    if (!shown || shown.textContent !== line.textContent || !seen(shown)) wrong.push(step.dataset.id + "'s line isn't shown");
  }
  const way = step.dataset.way.split(" ");
  const here = document.querySelectorAll(".spot.here");
  if (here.length !== 1 || here[0].id !== "spot-" + way[way.length - 1]) wrong.push(step.dataset.id + " isn't marked in the picture");
}
return wrong;`

func everyStep(t *testing.T, browser context.Context) {
	for _, file := range []string{"article.json", "missed.json", "live.json", "livemissed.json"} {
		t.Run(file, func(t *testing.T) {
			s := read(t, file)
			b := open(t, browser, render(t, s))
			for _, w := range eval[[]string](b, clickAll) {
				t.Error(w)
			}
			if n, want := eval[int](b, `return document.querySelectorAll("li.step").length`), count(s); n != want {
				t.Errorf("%d steps, want %d", n, want)
			}
			b.quiet()
		})
	}
}

// A live story's times open by a key, and are all there; the page then still fits, and
// what it says is legible.
func timeline(t *testing.T, browser context.Context) {
	s := read(t, "live.json")
	s.Outcome.Unknown, s.Remarks, s.Doubts = true, []string{"a remark"}, append(s.Doubts, "another doubt")
	b := open(t, browser, render(t, s))
	b.do(chromedp.Evaluate[chromedp.Void](`document.querySelector("#timeline summary").focus()`))
	b.press(kb.Enter)
	if n := eval[int](b, `return Array.from(document.querySelectorAll("#timeline li")).filter((e) => e.getClientRects().length).length`); n != len(s.Timeline) {
		t.Errorf("%d moments can be seen, want %d", n, len(s.Timeline))
	}
	for _, width := range []int64{320, 768, 1280} {
		b.screen(width, 800, "light")
		if over := eval[int](b, `return document.documentElement.scrollWidth - document.documentElement.clientWidth`); over > 0 {
			t.Errorf("at %d the page is %d too wide", width, over)
		}
		if small := eval[[]string](b, smallText); len(small) > 0 {
			t.Errorf("at %d too small to read: %q", width, small)
		}
	}
	for _, scheme := range []string{"light", "dark"} {
		b.screen(1280, 800, scheme)
		for _, w := range eval[[]string](b, contrast) {
			t.Errorf("%s: %s", scheme, w)
		}
	}
	b.quiet()
}

// The keyboard alone leads from the first step to the last one and back.
func keyboard(t *testing.T, browser context.Context) {
	b := open(t, browser, render(t, read(t, "article.json")))
	want := eval[[]string](b, `return Array.from(document.querySelectorAll("li.step.decisive"), (s) => s.dataset.id)`)
	b.press(kb.End)
	if last := want[len(want)-1]; b.current() != last {
		t.Errorf("End leads to %s, want %s", b.current(), last)
	}
	b.press(kb.Home)
	for i, id := range want {
		if got := b.current(); got != id {
			t.Fatalf("step %d is %s, want %s", i, got, id)
		}
		if i+1 < len(want) {
			b.press(kb.ArrowRight)
		}
	}
	if !eval[bool](b, `return document.getElementById("next").disabled && !document.getElementById("previous").disabled`) {
		t.Error("the buttons do not tell that this is the last step")
	}
	b.press(kb.ArrowLeft, kb.Tab)
	if got := b.current(); got != want[len(want)-2] {
		t.Errorf("the left arrow leads to %s", got)
	}
	if outline := eval[string](b, `const s = getComputedStyle(document.activeElement); return s.outlineStyle + " " + s.outlineWidth`); outline != "solid 3px" {
		t.Errorf("what has the focus has the outline %q", outline)
	}
	b.quiet()
}

// A link to a step that is not among those shown shows it.
func link(t *testing.T, browser context.Context) {
	s := read(t, "article.json")
	b := open(t, browser, render(t, s))
	for _, leg := range s.Legs[:2] {
		for _, stop := range leg.Stops[len(leg.Stops)-12:] {
			b.show(stop.ID)
			if !eval[bool](b, `return document.querySelector("[aria-current]").getBoundingClientRect().height > 0 && scrollY === 0`) {
				t.Errorf("step %s can't be seen", stop.ID)
			}
		}
	}
	b.quiet()
}

func contrasts(t *testing.T, browser context.Context) {
	b := open(t, browser, render(t, read(t, "missed.json")))
	for _, scheme := range []string{"light", "dark"} {
		b.screen(1280, 800, scheme)
		if dark := eval[bool](b, `return matchMedia("(prefers-color-scheme: dark)").matches`); dark != (scheme == "dark") {
			t.Fatalf("the screen is not %s", scheme)
		}
		for _, w := range eval[[]string](b, contrast) {
			t.Errorf("%s: %s", scheme, w)
		}
	}
}

func narrow(t *testing.T, browser context.Context) {
	b := open(t, browser, render(t, read(t, "article.json")))
	for _, width := range []int64{320, 390, 768, 1280} {
		b.screen(width, 800, "light")
		b.press(kb.End)
		if over := eval[int](b, `return document.documentElement.scrollWidth - document.documentElement.clientWidth`); over > 0 {
			t.Errorf("at %d the page is %d too wide", width, over)
		}
		if small := eval[[]string](b, smallText); len(small) > 0 {
			t.Errorf("at %d too small to read: %q", width, small)
		}
		if !eval[bool](b, `const s = document.querySelector(".scroll").getBoundingClientRect(), h = document.querySelector(".spot.here").getBoundingClientRect();
			return h.left >= s.left - 1 && h.right <= s.right + 1`) {
			t.Errorf("at %d the current place is out of sight", width)
		}
	}
	b.quiet()
}

// On paper there are no buttons, and every step that the packet took is there in full.
func printed(t *testing.T, browser context.Context) {
	b := open(t, browser, render(t, read(t, "article.json")))
	call(b, emulation.SetEmulatedMedia, emulation.SetEmulatedMediaParams{Media: "print"})
	for _, w := range eval[[]string](b, `
const seen = (e) => e.getClientRects().length > 0, wrong = [];
for (const e of document.querySelectorAll("button, #current, input")) if (seen(e)) wrong.push(e.id + " is printed");
for (const e of document.querySelectorAll("li.step:not(.miss) .more > p")) if (!seen(e)) wrong.push(e.textContent + " is not printed");
return wrong.slice(0, 5);`) {
		t.Error(w)
	}
}

// smallText finds text that is shown smaller than 10 pixels.
const smallText = `
const small = [];
for (const e of document.querySelectorAll("p, h1, h2, h3, li a, code, label, button, svg text")) {
  if (!e.getClientRects().length) continue;
  let size = parseFloat(getComputedStyle(e).fontSize);
  const svg = e.closest("svg");
  if (svg) size *= svg.getBoundingClientRect().width / svg.viewBox.baseVal.width;
  if (size < 9.5) small.push(e.textContent.slice(0, 30) + " " + size);
}
return small.slice(0, 5);`

// contrast finds text with less contrast than WCAG 2.1 asks for at level AA: 4.5 to 1.
const contrast = `
const rgb = (s) => { const m = s.match(/[\d.]+/g).map(Number); return m.length < 4 ? [...m, 1] : m; };
const light = (c) => { const f = (v) => { v /= 255; return v <= 0.03928 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4; };
  return 0.2126 * f(c[0]) + 0.7152 * f(c[1]) + 0.0722 * f(c[2]); };
const behind = (e) => {
  if (e.namespaceURI.endsWith("svg")) return rgb(getComputedStyle(e.parentNode.querySelector("rect")).fill);
  for (; e; e = e.parentElement) { const c = rgb(getComputedStyle(e).backgroundColor); if (c[3] === 1) return c; }
  return [255, 255, 255, 1];
};
const wrong = new Set();
for (const box of document.querySelectorAll("input[type=checkbox]")) if (!box.checked) box.click();
for (const e of document.querySelectorAll("body *:not(script, style, title)")) {
  if (!Array.from(e.childNodes).some((n) => n.nodeType === 3 && n.textContent.trim()) || !e.getClientRects().length) continue;
  const style = getComputedStyle(e);
  const ink = rgb(e.namespaceURI.endsWith("svg") ? style.fill : style.color), back = behind(e);
  const [a, b] = [light(ink), light(back)].sort((x, y) => y - x);
  const ratio = (a + 0.05) / (b + 0.05);
  if (ratio < 4.5) wrong.add(e.tagName + "." + e.getAttribute("class") + ": " + ratio.toFixed(2) + " " + ink + " on " + back);
}
return Array.from(wrong);`

// What the mesh's names and a dump's lines hold is text, whatever it looks like.
func hostileTexts(t *testing.T, browser context.Context) {
	b := open(t, browser, render(t, hostile()))
	for _, w := range eval[[]string](b, clickAll) {
		t.Error(w)
	}
	if eval[bool](b, `return "harmed" in window || document.querySelectorAll("img, iframe, main script").length > 0`) {
		t.Error("a text became part of the page")
	}
	b.quiet()
}

// screenshot writes the picture that the documentation shows.
func screenshot(t *testing.T, browser context.Context) {
	s := read(t, "article.json")
	b := open(t, browser, render(t, s))
	at := slices.IndexFunc(s.Legs[0].Stops, func(x story.Stop) bool { return x.Kind == "tproxy" })
	b.show(s.Legs[0].Stops[at].ID)
	png := call(b, page.CaptureScreenshot, page.CaptureScreenshotParams{}).Data
	if len(png) > 300_000 {
		t.Errorf("the screenshot has %d bytes", len(png))
	}
	if err := os.WriteFile("../../../docs/trace.png", png, 0o644); err != nil {
		t.Fatal(err)
	}
}
