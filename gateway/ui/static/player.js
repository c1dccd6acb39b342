// The player: draws any state of the drafting from the log's own data onto the tokens that lie on the sheet. Nothing is laid out
// anew: an open place keeps its final token, transparent, so it has the right width, and what stood there then is drawn over it
// from an attribute. Model text reaches the page only as text nodes and attributes.
const player = document.querySelector("[data-player]");
const STANDINGS = ["masked", "kept", "known", "rejected", "dropped", "doubted"];
const still = matchMedia("(prefers-reduced-motion: reduce)");

function byToken() {
  const found = new Map();
  for (const span of document.querySelectorAll(".t[data-i]")) {
    const index = Number(span.dataset.i);
    if (!found.has(index)) found.set(index, []);
    found.get(index).push(span);
  }
  return found;
}

class Player {
  constructor(root, data) {
    this.root = root;
    this.data = data;
    this.tokens = byToken();
    this.slider = root.querySelector("input[type=range]");
    this.says = root.querySelector("[data-says]");
    this.playing = root.querySelector("[data-play]");
    this.speed = root.querySelector("[data-speed]");
    this.bars = [...root.querySelectorAll("[data-frame]")];
    this.end = data.frames.length;
    this.at = this.end;
    this.timer = 0;
    this.span = -1;
    root.querySelectorAll("[data-needs-script]").forEach((part) => { part.hidden = false; });
    this.slider.addEventListener("input", () => { this.stop(); this.show(Number(this.slider.value)); });
    this.playing.addEventListener("click", () => this.toggle());
    root.querySelector("[data-back]").addEventListener("click", () => this.step(-1));
    root.querySelector("[data-next]").addEventListener("click", () => this.step(1));
    root.querySelector("[data-unsure]").addEventListener("click", () => this.visit());
    this.bars.forEach((bar) => bar.addEventListener("click", () => { this.stop(); this.show(Number(bar.dataset.frame)); }));
    document.addEventListener("click", (event) => this.jump(event));
    document.addEventListener("keydown", (event) => { if (event.key === "Enter") this.jump(event); });
    still.addEventListener("change", () => this.mayPlay());
    this.mayPlay();
    this.tell();
  }

  mayPlay() {
    this.playing.disabled = still.matches || this.end === 0;
    if (still.matches) this.stop();
  }

  show(at) {
    this.at = Math.min(Math.max(at, 0), this.end);
    const frame = this.data.frames[this.at];
    for (const [index, spans] of this.tokens) {
      const [standing, ghost, title] = this.standing(frame, index);
      for (const span of spans) {
        if (standing) span.dataset.s = standing; else delete span.dataset.s;
        if (ghost) span.dataset.ghost = ghost; else delete span.dataset.ghost;
        if (title) span.dataset.then = title; else delete span.dataset.then;
      }
    }
    this.tell();
  }

  // How one token of the sheet stands after a frame: its state, what is drawn over it, and its number then.
  standing(frame, index) {
    if (!frame) return ["", "", ""];
    const place = frame.places[index - frame.start];
    if (!place) return [index < frame.settled ? "" : "ahead", "", ""];
    const [code, word, sure, same] = place;
    const name = STANDINGS[code], text = this.data.words[word];
    const told = sure.toFixed(2);
    if (index < frame.settled) return [same ? name : name === "rejected" ? "corrected" : "", "", told];
    if (name === "kept" || name === "known" || name === "doubted") return [same ? name : `${name} other`, same ? "" : text, told];
    return [name, text, told];
  }

  tell() {
    const frame = this.data.frames[this.at];
    const told = frame ? `${frame.title}: ${frame.says}` : "The answer as it stands";
    this.says.textContent = told;
    this.slider.value = this.at;
    this.slider.setAttribute("aria-valuetext", told);
    for (const bar of this.bars) {
      const number = Number(bar.dataset.frame);
      bar.dataset.s = number < this.at ? "past" : number === this.at ? "now" : "ahead";
    }
    this.root.dataset.at = this.at;
  }

  // A token of the sheet leads to the step that made it.
  jump(event) {
    const token = event.target.closest(".t[role=button]");
    if (!token) return;
    this.stop();
    this.show(Number(token.dataset.f));
  }

  step(by) {
    this.stop();
    this.show(this.at + by);
  }

  toggle() {
    if (this.timer) { this.stop(); return; }
    if (this.playing.disabled) return;
    if (this.at >= this.end) this.show(0);
    this.says.setAttribute("aria-live", "off");
    this.playing.querySelector("span").textContent = "Pause";
    this.timer = setInterval(() => {
      this.show(this.at + 1);
      if (this.at >= this.end) this.stop();
    }, 1000 / Number(this.speed.value));
  }

  stop() {
    clearInterval(this.timer);
    this.timer = 0;
    this.says.setAttribute("aria-live", "polite");
    this.playing.querySelector("span").textContent = "Play";
  }

  // The next unsure span, the least sure first.
  visit() {
    const spans = this.data.spans;
    if (!spans.length) { this.says.textContent = "No token of this answer is unsure."; return; }
    this.stop();
    this.show(this.end);
    this.span = (this.span + 1) % spans.length;
    const found = this.tokens.get(spans[this.span][0])?.[0];
    if (!found) return;
    found.closest("details:not([open])")?.setAttribute("open", "");
    found.scrollIntoView({ block: "center" });
    found.focus({ preventScroll: true });
    this.says.textContent = `Unsure span ${this.span + 1} of ${spans.length}: “${found.lastChild.textContent}” ${found.title}`;
  }
}

async function begin() {
  const answer = await fetch(player.dataset.src, { headers: { accept: "application/json" } });
  if (!answer.ok) throw new Error(String(answer.status));
  const made = new Player(player, await answer.json());
  const acts = { "[": () => made.step(-1), "]": () => made.step(1), n: () => made.visit(), " ": () => made.toggle() };
  document.addEventListener("keydown", (event) => {
    const busy = event.target.closest("input:not([type=range]), textarea, select, [contenteditable]");
    const pressed = event.key === " " && event.target.closest("button, summary, a, [role=button]");
    if (busy || pressed || document.documentElement.dataset.keys === "off" || event.ctrlKey || event.metaKey || event.altKey) return;
    if (!Object.hasOwn(acts, event.key)) return;
    event.preventDefault();
    acts[event.key]();
  });
  player.dataset.ready = "";
}

if (player) begin().catch(() => {
  player.querySelector("[data-says]").textContent = "The steps could not be fetched. Open the page again, or read them in words below.";
});
