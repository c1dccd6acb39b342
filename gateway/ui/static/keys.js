// Keys that every page has: j k rows, / search, ? the list of keys, Esc leaves. Pages add their own in files of their own.
// Single keys can be turned off (WCAG 2.1.4): then <html data-keys="off">, which files with keys of their own ask as well.
"use strict";
const root = document.documentElement;
const rows = () => [...document.querySelectorAll("[data-rows] a[data-row]")];

function step(by) {
  const all = rows();
  if (!all.length) return;
  const at = all.indexOf(document.activeElement);
  all[at < 0 ? (by > 0 ? 0 : all.length - 1) : Math.min(Math.max(at + by, 0), all.length - 1)].focus();
}

function help(open) {
  const keys = document.getElementById("keys");
  if (!keys) return;
  keys.open = open ?? !keys.open;
  if (keys.open) keys.querySelector("summary").focus();
}

const acts = {
  j: () => step(1),
  k: () => step(-1),
  "/": () => document.querySelector("input[type=search]")?.focus(),
  "?": () => help(),
};

function remember(on) {
  root.dataset.keys = on ? "on" : "off";
  try { localStorage.setItem("palimpsest-keys", root.dataset.keys); } catch { /* then it is for this page alone */ }
}

let kept = "on";
try { kept = localStorage.getItem("palimpsest-keys") ?? "on"; } catch { /* a browser that keeps nothing */ }
root.dataset.keys = kept;
const tick = document.getElementById("keys-on");
if (tick) {
  tick.checked = kept !== "off";
  tick.addEventListener("change", () => remember(tick.checked));
}

document.addEventListener("keydown", (event) => {
  const typing = event.target.closest("input, textarea, select, [contenteditable]");
  if (event.key === "Escape") {
    if (typing) event.target.blur();
    else help(false);
    return;
  }
  if (typing || root.dataset.keys === "off" || event.ctrlKey || event.metaKey || event.altKey || !Object.hasOwn(acts, event.key)) return;
  event.preventDefault();
  acts[event.key]();
});
