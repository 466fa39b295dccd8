// One run: its record, why it waits, and its output as it comes.

import { client, host } from "./host.js";
import { _, badge, between, duration, Facts, format, h, jobLink, LIVE, moment, PENDING, put, quiet, section, size, visible, words } from "./elements.js";
import { button } from "./actions.js";
import { stopButton } from "./runs.js";

const ALIVE = [...LIVE, ...PENDING];
// Bytes of output that are asked for at once, how often a second, and characters of it that are shown.
const PIECE = 65536;
const PIECES = 4;
const SHOWN = 200000;
const TICK = 1000;

export function runView(name) {
  const about = new Facts(), attempts = h("ol"), reasons = h("ul"), doing = h("p", { class: "actions" });
  const problem = h("p", { class: "bad", role: "alert" }), output = new Output(name);
  const why = section(_("Why it has not started"), reasons), tried = section(_("Attempts"), attempts);
  const again = button(_("Run again"), () => client.call("Rerun", { run: name }).then(({ run }) => format(_("$0 is due."), run)));
  const stop = stopButton(name);
  let busy = false, known = "", live = true;

  async function update(changed = new Set()) {
    const isNews = !known || changed.has(name);
    if (busy || host.error || document.hidden || !(live || isNews)) return;
    busy = true;
    try {
      const { record } = await client.call("Show", { run: name });
      const text = JSON.stringify(record);
      if (text !== known) show(record);
      known = text;
      live = ALIVE.includes(record.state);
      problem.textContent = "";
      if (!PENDING.includes(record.state) || record.attempts.length) await output.go();
    } catch (error) {
      problem.textContent = words(error);
      live = error.isUnreachable;
    }
    busy = false;
  }

  function show(record) {
    const usage = record.usage ?? {};
    about.show([
      [_("Job"), jobLink(record.job)], [_("State"), badge(record.state)], [_("Reason"), record.reason], [_("Due"), moment(record.due)],
      [_("Trigger"), record.trigger], [_("Asked by"), record.asked_by], [_("Started"), record.started && moment(record.started)],
      [_("Took"), record.ended && record.started ? between(record.started, record.ended) : null],
      [_("Process"), record.pid && String(record.pid)], [_("Exit code"), record.exit_code !== null ? String(record.exit_code) : null],
      [_("Signal"), record.signal && String(record.signal)],
      [_("CPU time"), record.cpu_user !== null ? duration(record.cpu_user + record.cpu_system) : usage.cpu_seconds ? duration(usage.cpu_seconds) : null],
      [_("Memory"), usage.memory ? size(usage.memory) : record.memory_peak ? size(record.memory_peak) : null],
      [_("Waited for"), record.waited_for?.join(", ")], [_("Skipped"), record.count > 1 ? `× ${record.count}` : null],
      [_("Warnings"), record.warnings?.join("; ")],
    ]);
    attempts.replaceChildren(...record.attempts.map(it => h("li", {}, badge(it.state), ` ${it.reason ?? ""} `, moment(it.started), ", ", between(it.started, it.ended))));
    tried.hidden = record.attempts.length < 2;
    reasons.replaceChildren(...(record.waits_for ?? []).map(reason => h("li", {}, reason)));
    why.hidden = !reasons.children.length;
    put(doing, ALIVE.includes(record.state) ? stop : again);
  }

  const timer = setInterval(() => live && update(), TICK);
  return {
    element: h("div", {}, h("h1", {}, name), problem, doing, h("section", {}, about.element), why, tried, section(_("Output"), output.element)),
    update,
    close: () => clearInterval(timer),
  };
}

// The output of a run, followed: of one that writes faster than it can be read here, pieces are left out.
class Output {
  #run;
  #offset = null;
  #left = 0;
  #decoder = new TextDecoder();
  #rest = "";
  #text = h("pre", { tabindex: 0, class: "output" });
  #note = quiet();
  element = h("div", {}, this.#note, this.#text);

  constructor(run) { this.#run = run; }

  async go() {
    try {
      let { size: all } = await this.#read(0, 1);
      if (all < this.#offset) this.#forget();
      if (this.#offset === null || all - this.#offset > PIECES * PIECE) this.#jump(Math.max(0, all - SHOWN));
      for (let piece = 0; piece < PIECES && this.#offset < all; piece++) all = await this.#take();
      this.#tell(all ? "" : _("It has written nothing so far."));
    } catch (error) {
      if (error.name !== "NoOutput") throw error;
      this.#tell(error.message);
    }
  }

  #read(offset, limit) { return client.call("Logs", { run: this.#run, offset, limit }); }

  // It is another run, whose number was given again after the state of the daemon was lost.
  #forget() {
    this.#text.textContent = this.#rest = "";
    this.#offset = null;
    this.#left = 0;
  }

  #jump(offset) {
    this.#left += offset - (this.#offset ?? 0);
    this.#offset = offset;
    this.#rest = "";
    this.#decoder = new TextDecoder();
  }

  async #take() {
    const { data, size: all } = await this.#read(this.#offset, PIECE);
    const bytes = Uint8Array.from(atob(data), letter => letter.charCodeAt(0));
    if (!bytes.length) return this.#offset;
    this.#offset += bytes.length;
    const isAtEnd = this.#text.scrollTop + this.#text.clientHeight > this.#text.scrollHeight - 20;
    const [whole, rest] = cut(this.#rest + this.#decoder.decode(bytes, { stream: true }));
    this.#rest = rest;
    this.#text.append(printable(whole));
    const over = this.#text.textContent.length - SHOWN;
    if (over > 0) {
      this.#left += new TextEncoder().encode(this.#text.textContent.slice(0, over)).length;
      this.#text.textContent = this.#text.textContent.slice(over);
    }
    if (isAtEnd) this.#text.scrollTop = this.#text.scrollHeight;
    return all;
  }

  #tell(nothing) {
    this.#note.textContent = this.#left ? format(_("$0 of it are not shown; all of it: jobqueuectl logs $1"), size(this.#left), this.#run) : nothing;
  }
}

// A text, and what of its end may be the begin of an escape, or of a line end.
function cut(text) {
  const begun = text.match(/(?:\x1b(?:\[[0-9;?]{0,30}|\][^\x07\x1b]{0,300}|[()*+]?)|\r)$/);
  return begun ? [text.slice(0, begun.index), begun[0]] : [text, ""];
}

// Escapes colour nothing here, and what else is no text is made visible.
function printable(text) {
  return visible(text.replace(/\x1b(?:\[[0-9;?]*[ -/]*[@-~]|\][^\x07\x1b]*(?:\x07|\x1b\\)|[()*+][A-Za-z0-9]|[=>78cDEHMNOZ])/g, "").replace(/\r\n?/g, "\n")
    .replace(/[\x00-\x08\x0b-\x1f]/g, letter => String.fromCharCode(0x2400 + letter.charCodeAt(0))));
}
