// What runs now, what waits, and what has ended lately; and one run.

import { client, host, inTurn } from "./host.js";
import { follow } from "./varlink.js";
import { _, badge, between, button, duration, Facts, FAILURES, format, h, jobLink, LIVE, moment, OWN, PENDING, pending, put, quiet, runLink, section, size, Table, visible, words } from "./elements.js";

export const ENDED = ["succeeded", ...FAILURES, "skipped"];
const RETRY = 2000;
// So many of those that wait for no lock are asked about one by one.
const ASKED = 10;
const ALIVE = [...LIVE, ...PENDING];
// Bytes of output that are asked for at once, how often a second, and characters of it that are shown.
const PIECE = 65536;
const PIECES = 4;
const SHOWN = 200000;
const TICK = 1000;

// What each run waits for: the locks that it lacks, and who has them; of the first others what Why says.
async function waitsFor(runs) {
  const { claims } = await client.call("Locks"), holders = new Map(), found = new Map();
  for (const { lock, holder, held } of claims) if (held) holders.set(lock, [...holders.get(lock) ?? [], holder]);
  for (const { lock, holder, reason } of claims.filter(claim => !claim.held)) {
    const why = reason || format(_("$0 has it"), holders.get(lock)?.join(", ") ?? _("another process"));
    found.set(holder, [...found.get(holder) ?? [], `${lock}: ${why}`]);
  }
  await Promise.all(runs.filter(({ run }) => !found.has(run)).slice(0, ASKED).map(async ({ run }) => {
    try { found.set(run, (await client.call("Why", { run })).why.reasons); } catch { /* it waits no more */ }
  }));
  return found;
}

export const ended = caption => new Table(caption, [_("Run"), _("State"), _("Started"), _("Took"), _("Why")], run => run.run, run => [
  runLink(run.run), badge(run.state, run.count > 1 ? ` × ${run.count}` : ""), started(run), between(run.started, run.ended), run.reason,
]);

// Of what never started the time at which it was due, in brackets.
const started = run => run.started || !run.due ? moment(run.started) : h("span", { class: "quiet" }, "(", moment(run.due), ")");

export function runsView() {
  const live = new Table(_("Running"), [_("Run"), _("State"), _("For"), _("Usual"), _("CPU"), _("Memory"), _("Action")], run => run.run, cells);
  const queue = new Table(_("Waiting"), [_("Run"), _("State"), _("Since"), _("Why")], run => run.run, run => [
    runLink(run.run), badge(run.state), moment(run.queued), run.why ? run.why.join("; ") || "–" : _("see the run"),
  ]);
  const past = ended(_("Recently ended"));
  const more = quiet();
  queue.section.append(more);
  let over = false, stop = () => {};

  function measure() {
    stop();
    if (document.hidden) return;
    stop = follow("Usage", {}, ({ runs }) => live.show(runs, nothing(_("Nothing runs."))), error => {
      live.show([], words(error));
      if (!over && error.name !== "PermissionDenied") setTimeout(() => over || measure(), RETRY);
    });
  }

  const update = inTurn(async () => {
    if (!host.status) return;
    const [waiting, before] = await Promise.all([
      client.call("History", { states: PENDING }), client.call("History", { states: ENDED }),
    ]);
    const all = pending(host.status);
    const wait = waiting.runs.filter(run => PENDING.includes(run.state));
    const why = wait.length ? await waitsFor(wait) : null;
    queue.show(wait.map(run => ({ ...run, why: why.get(run.run) })), nothing(_("Nothing waits.")));
    more.textContent = host.isStranger ? OWN : all > waiting.runs.length ? format(_("The newest $0 of $1."), waiting.runs.length, all) : "";
    past.show(before.runs, nothing(_("Nothing has run yet.")));
  }, error => {
    queue.show([], words(error));
    past.show([], words(error));
  });

  document.addEventListener("visibilitychange", measure);
  measure();
  return {
    element: h("div", {}, live.section, queue.section, past.section),
    update,
    close() { over = true; stop(); document.removeEventListener("visibilitychange", measure); },
  };
}

const nothing = text => host.isStranger === false ? text : host.isStranger ? OWN : "";

function cells(run, kept) {
  const { now, limits } = run;
  const memory = limits.memory ? format(_("$0 of $1"), size(now.memory), size(limits.memory)) : size(now.memory);
  return [
    runLink(run.run), badge(run.late ? "late" : run.state), between(run.started, now.time), duration(run.usual),
    `${Math.round(100 * now.cpu)} %`, memory, kept.stop ??= stopButton(run.run),
  ];
}

export const stopButton = run => Object.assign(button(_("Stop"),
  () => client.call("Stop", { run }).then(({ state }) => format(_("$0 is $1."), run, state)), format(_("Stop $0?"), run)), { title: run });

// One run: its record, why it waits, and its output as it comes.
export function runView(name) {
  const about = new Facts(), attempts = h("ol"), reasons = h("ul"), doing = h("p", { class: "actions" });
  const problem = h("p", { class: "bad", role: "alert" }), output = new Output(name);
  const why = section(_("Why it has not started"), reasons), tried = section(_("Attempts"), attempts);
  const again = button(_("Run again"), () => client.call("Rerun", { run: name }).then(({ run }) => format(_("$0 is due."), run)));
  const stop = stopButton(name);
  let known = "", live = true;

  const update = inTurn(async changed => {
    if (document.hidden || !(live || !known || changed.has(name))) return;
    const { record } = await client.call("Show", { run: name });
    const text = JSON.stringify(record);
    if (text !== known) show(record);
    known = text;
    live = ALIVE.includes(record.state);
    problem.textContent = "";
    if (!PENDING.includes(record.state) || record.attempts.length) await output.go();
  }, error => {
    problem.textContent = words(error);
    live = error.isUnreachable;
  });

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

// The output of the newest run of a job, followed while it is live.
export class LastOutput {
  #run = null;
  #output = null;
  #head = h("p");
  #place = h("div", { class: "last" });
  #timer = setInterval(() => LIVE.includes(this.#run?.state) && !document.hidden && !host.error && this.#read(), TICK);
  #isBusy = false;
  section = section(_("Last output"), this.#head, this.#place);

  constructor() { this.section.hidden = true; }

  // Show that of this run; without one there is none.
  async show(run = null) {
    const before = this.#run;
    this.section.hidden = run === null;
    this.#run = run;
    if (run === null || (before?.run === run.run && before.state === run.state)) return;
    this.#head.replaceChildren(runLink(run.run), " ", badge(run.state), " ", moment(run.ended ?? run.started));
    if (before?.run !== run.run) {
      this.#output = new Output(run.run);
      this.#place.replaceChildren(this.#output.element);
    }
    await this.#read();
  }

  async #read() {
    if (this.#isBusy) return;
    this.#isBusy = true;
    try { await this.#output.go(); } catch (error) { this.#head.replaceChildren(words(error)); }
    this.#isBusy = false;
  }

  close() { clearInterval(this.#timer); }
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
