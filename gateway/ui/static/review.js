// The review page and the queue: clocks, what has been on screen, the keys a r e, and when to look for news.
const LOOK = 3000, AWAY = 300000;
const root = document.documentElement;
let touched = Date.now();

function countdown(left) {
  if (left <= 0) return "over";
  const whole = Math.floor(left / 1000);
  if (whole >= 172800) return `${Math.floor(whole / 86400)} days`;
  const two = (number) => String(number).padStart(2, "0");
  const hours = Math.floor(whole / 3600), minutes = Math.floor(whole / 60) % 60;
  return hours ? `${hours}:${two(minutes)}:${two(whole % 60)}` : `${minutes}:${two(whole % 60)}`;
}

// By the gateway's clock, for this machine's may be wrong: a clock came with the moment at which it was made.
const ahead = new WeakMap();
function now(clock) {
  if (!ahead.has(clock)) ahead.set(clock, Date.parse(clock.dataset.now) - Date.now());
  return Date.now() + ahead.get(clock);
}

function tick() {
  for (const clock of document.querySelectorAll("[data-until]")) {
    clock.textContent = countdown(Date.parse(clock.dataset.until) - now(clock));
    clock.classList.toggle("near", now(clock) >= Date.parse(clock.dataset.near));
  }
}

// A page that nobody looks at asks for nothing, so that an idle session ends.
function look() {
  if (document.visibilityState === "visible" && Date.now() - touched < AWAY) document.body.dispatchEvent(new Event("look"));
}

for (const kind of ["pointermove", "keydown", "scroll", "pointerdown"]) {
  addEventListener(kind, () => { touched = Date.now(); }, { passive: true });
}
setInterval(tick, 1000);
setInterval(look, LOOK);
tick();

// Approve opens once every line of the answer was on screen, above the bar that covers the foot of the window.
class Reader {
  constructor(sheet, bar) {
    this.approve = bar.querySelector("[data-approve]");
    this.told = bar.querySelector("[data-told]");
    this.hint = bar.querySelector("[data-hint]");
    if (!this.approve) return;
    this.box = bar.querySelector("[data-seen]");
    this.send = this.approve.closest("details").querySelector("button");
    this.lines = [...sheet.querySelectorAll("[data-line]")].filter((line) => !line.closest("details:not([open])"));
    this.left = new Set(this.lines);
    this.box.hidden = true;
    this.lock(true);
    this.begun = new Set();
    const above = { rootMargin: `0px 0px -${bar.offsetHeight}px 0px`, threshold: [0, 0.25, 0.5, 0.75, 1] };
    const seen = new IntersectionObserver((entries) => this.see(entries), above);
    this.seen = seen;
    this.lines.forEach((line) => seen.observe(line));
    if (!this.lines.length) this.done();
    this.approve.addEventListener("click", (event) => {
      if (!this.left.size) return;
      event.preventDefault();
      this.tell();
      [...this.left][0].scrollIntoView({ block: "center" });
    });
  }

  lock(locked) {
    this.approve.setAttribute("aria-disabled", String(locked));
    this.send.disabled = locked;
    this.told.hidden = !locked;
    this.hint.hidden = locked;
    if (locked) this.tell();
  }

  see(entries) {
    for (const entry of entries) {
      // The end of a line counts, so that one taller than the window is seen when its end was, or when it went by.
      const box = entry.boundingClientRect, room = entry.rootBounds;
      if (entry.isIntersecting) this.begun.add(entry.target);
      const wentBy = this.begun.has(entry.target) && box.bottom <= room.top;
      if (!wentBy && !(entry.isIntersecting && box.bottom <= room.bottom + 1)) continue;
      this.left.delete(entry.target);
      this.seen.unobserve(entry.target);
    }
    if (this.left.size) this.tell();
    else this.done();
  }

  tell() {
    this.told.textContent = `Read on: ${this.lines.length - this.left.size} of ${this.lines.length} lines were on screen`;
  }

  done() {
    this.box.querySelector("input").checked = true;
    this.lock(false);
  }
}

const bar = document.querySelector("[data-decision]");
const sheet = document.querySelector("[data-sheet]");
if (bar && sheet) new Reader(sheet, bar);

// When the answer has changed under the reader's eyes nothing can be signed here any more; the page says so and leads on.
document.body.addEventListener("htmx:afterSwap", () => {
  tick();
  const moved = document.querySelector("[data-moved]");
  if (moved && bar) for (const button of bar.querySelectorAll("form button")) button.disabled = true;
});

document.addEventListener("keydown", (event) => {
  if (event.target.closest("input:not([type=range]), textarea, select, [contenteditable]")) return;
  if (root.dataset.keys === "off" || event.ctrlKey || event.metaKey || event.altKey) return;
  if (!["a", "r", "e"].includes(event.key) || !bar) return;
  const part = bar.querySelector(`details[data-key="${event.key}"]`);
  if (!part) return;
  event.preventDefault();
  const summary = part.querySelector("summary");
  if (!part.open) summary.click();
  if (part.open) part.querySelector(".field :is(textarea, select, input:not([tabindex]))")?.focus({ preventScroll: true });
  else summary.focus();
});
