// Drafts while they are made, from the events of /api/generations/ID/live. Model text reaches the page only as text nodes, and
// what would not be seen in it (controls, fillers, and what turns the direction of writing) is spelled out.
const sheet = document.querySelector("[data-live]");
const told = document.querySelector("[data-live-told]");
const UNSEEN = /[\p{C}\p{Zl}\p{Zp}\p{Default_Ignorable_Code_Point}\u2800]/gu;

function visible(text) {
  return text.replace(UNSEEN, (each) => (each === "\n" || each === "\t") ? each
    : `\u27e8U+${each.codePointAt(0).toString(16).toUpperCase().padStart(4, "0")}\u27e9`);
}

function write(text, title) {
  if (!text) return;
  const part = document.createElement("span");
  part.textContent = visible(text);
  part.title = title;
  sheet.append(part);
}

function count(number, one, many) {
  return `${number} ${number === 1 ? one : many}`;
}

class Live {
  constructor() {
    this.tokens = 0;
    this.events = new EventSource(sheet.dataset.live);
    this.on("block", (block) => {
      write(block.text, `block ${block.index + 1}, ${count(block.steps, "step", "steps")}`);
      this.tokens += block.ids.length;
    });
    this.on("round", (round) => {
      write(round.output_text, `round ${round.index + 1}, ${round.accepted} of ${count(round.draft.length, "draft", "drafts")} kept`);
      this.tokens += round.output.length;
    });
    this.on("run", (run) => {
      write(run.text, count(run.ids.length, "token", "tokens"));
      this.tokens += run.ids.length;
    });
    this.on("end", (end) => this.close(`It has ended: ${end.reason}. ${count(this.tokens, "token", "tokens")} were drafted.`));
    this.events.addEventListener("error", () => {
      if (this.events.readyState === EventSource.CLOSED) this.close("No more can be read here.");
      else told.textContent = "The connection was lost; it is tried again.";
    });
  }

  on(name, take) {
    this.events.addEventListener(name, (event) => {
      take(JSON.parse(event.data));
      if (name !== "end") told.textContent = `${count(this.tokens, "token", "tokens")} so far`;
    });
  }

  close(words) {
    this.events.close();
    told.textContent = words;
    document.querySelector("[data-live-over]").hidden = false;
  }
}

if (sheet) new Live();
