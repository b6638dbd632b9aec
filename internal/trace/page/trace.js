"use strict";
(() => {
  const root = document.documentElement;
  const find = (id) => document.getElementById(id);
  const steps = Array.from(document.querySelectorAll("li.step"));
  if (steps.length === 0) return;
  root.classList.add("js");

  const boxes = { others: find("others"), misses: find("misses") };
  const spots = new Map();
  for (const g of document.querySelectorAll(".spot")) {
    spots.set(g.id.slice("spot-".length), { g, x: g.dataset.x, y: g.dataset.y });
  }
  let current = null;

  const shown = (step) =>
    step.classList.contains("decisive") ||
    (step.classList.contains("other") && boxes.others.checked) ||
    (step.classList.contains("miss") && boxes.misses.checked);

  const choose = () => {
    for (const name in boxes) root.classList.toggle(name, boxes[name].checked);
  };

  // The way through the picture: faint for the ways before, strong for the one of
  // the current step.
  const draw = () => {
    const leg = current.closest("section.leg");
    let before = "", now = "", last = null, place = null;
    const been = new Set();
    for (const step of steps) {
      const mine = step.closest("section.leg") === leg;
      for (const id of step.dataset.way.split(" ")) {
        const s = spots.get(id);
        if (!s) continue;
        const move = last !== step.parentNode ? "M" : "L";
        if (s !== place || move === "M") {
          if (mine) now += move + s.x + " " + s.y;
          else before += move + s.x + " " + s.y;
        }
        last = step.parentNode;
        place = s;
        been.add(s);
      }
      if (step === current) break;
    }
    find("before").setAttribute("d", before);
    find("now").setAttribute("d", now);
    for (const s of spots.values()) {
      s.g.classList.toggle("been", been.has(s));
      s.g.classList.toggle("here", s === place);
    }
    const scroll = document.querySelector(".scroll");
    if (place && scroll.scrollWidth > scroll.clientWidth) {
      scroll.scrollLeft = place.x - scroll.clientWidth / 2;
    }
  };

  const tell = () => {
    const visible = steps.filter((s) => shown(s) || s === current);
    const at = visible.indexOf(current);
    find("previous").disabled = at === 0;
    find("next").disabled = at === visible.length - 1;
    find("counter").textContent = "Step " + current.dataset.id + ", " + (at + 1) + " of " + visible.length;
    find("where").textContent = current.querySelector(".where").textContent;
    find("says").textContent = current.querySelector(".says").textContent;
    const detail = find("detail");
    detail.replaceChildren();
    for (const part of current.querySelectorAll(".more > p:not(.where)")) detail.append(part.cloneNode(true));
  };

  const go = (step, remember) => {
    if (!step) return;
    if (current) current.removeAttribute("aria-current");
    current = step;
    current.setAttribute("aria-current", "step");
    if (!shown(step)) {
      boxes[step.classList.contains("miss") ? "misses" : "others"].checked = true;
      choose();
    }
    tell();
    draw();
    // Where the list scrolls by itself, the step is kept in view.
    const list = find("steps");
    if (list.scrollHeight > list.clientHeight + 1) step.scrollIntoView({ block: "nearest" });
    if (remember) history.replaceState(null, "", "#" + step.dataset.id);
  };

  const near = (by) => {
    const at = steps.indexOf(current);
    for (let i = at + by; i >= 0 && i < steps.length; i += by) if (shown(steps[i])) return steps[i];
    return null;
  };
  const ends = { Home: () => steps.find(shown), End: () => steps.findLast(shown) };
  const keys = {
    ArrowRight: () => near(1), ArrowDown: () => near(1),
    ArrowLeft: () => near(-1), ArrowUp: () => near(-1),
    Home: ends.Home, End: ends.End,
  };

  find("next").addEventListener("click", () => go(near(1), true));
  find("previous").addEventListener("click", () => go(near(-1), true));
  for (const name in boxes) {
    boxes[name].addEventListener("change", () => {
      choose();
      if (!shown(current)) go(near(-1) || near(1), true);
      else go(current, false);
    });
  }
  document.addEventListener("keydown", (e) => {
    if (e.altKey || e.ctrlKey || e.metaKey || e.shiftKey || !keys[e.key]) return;
    // In the picture, the arrows scroll it while it is wider than the screen.
    const scroll = e.target.closest(".scroll");
    if (scroll && scroll.scrollWidth > scroll.clientWidth && e.key.startsWith("Arrow")) return;
    e.preventDefault();
    go(keys[e.key](), true);
  });
  find("steps").addEventListener("click", (e) => {
    const link = e.target.closest("a");
    if (!link) return;
    e.preventDefault();
    go(link.closest("li"), true);
    const panel = find("current");
    const top = panel.getBoundingClientRect().top;
    if (top < 0 || top > window.innerHeight) panel.scrollIntoView({ block: "start" });
  });
  // The steps have no id of the address's form, or the browser would scroll to them
  // and the picture would be gone from a narrow screen.
  const byHash = () => {
    const id = decodeURIComponent(location.hash.slice(1));
    return steps.find((s) => s.dataset.id === id) || null;
  };
  window.addEventListener("hashchange", () => go(byHash(), false));

  const { others, start } = document.querySelector("main").dataset;
  if (others === "true") boxes.others.checked = true;
  choose();
  go(byHash() || steps.find((s) => s.dataset.id === start) || steps.find(shown) || steps[0], false);
})();
