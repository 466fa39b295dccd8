// Elements, buttons that say what became of it, and how times and sizes are told.  Texts of others are only ever set as text.

import { host } from "./host.js";

export const _ = cockpit.gettext;
export const format = cockpit.format;

// An element: `properties` are attributes, or listeners where they are functions (`onclick`); null and false are left out.
export const h = (name, ...rest) => fill(document.createElement(name), ...rest);
export const svg = (name, ...rest) => fill(document.createElementNS("http://www.w3.org/2000/svg", name), ...rest);

function fill(made, properties = {}, ...children) {
  for (const [key, value] of Object.entries(properties)) {
    if (typeof value === "function") made.addEventListener(key.slice(2), value);
    else if (value !== null && value !== false) made.setAttribute(key, value === true ? "" : value);
  }
  made.append(...children.filter(child => child !== null).map(child => typeof child === "string" ? visible(child) : child));
  return made;
}

const PATIENCE = 5000;
const SAID = 10000;
let forgets = null;
const done = () => document.getElementById("done");

function say(text, isBad = false) {
  done().className = isBad ? "bad" : "";
  done().textContent = text;
  clearTimeout(forgets);
  forgets = setTimeout(() => { done().textContent = ""; }, SAID);
}

// A button: `act` promises the words for what was done.  With `sure` it asks that first, and a second press does it.
export function button(text, act, sure = "") {
  const it = h("button", { type: "button", onclick: press, onblur: reset }, text);
  let timer = null, busy = false;

  function reset() {
    clearTimeout(timer);
    timer = null;
    it.textContent = text;
    it.classList.remove("danger");
  }

  async function press(event) {
    if (busy || event.detail > 1) return;  // the second click of a double one answers no question
    if (sure && timer === null) {
      it.textContent = sure;
      it.classList.add("danger");
      timer = setTimeout(reset, PATIENCE);
      return;
    }
    reset();
    busy = true;
    it.setAttribute("aria-disabled", "true");
    try { say(await act()); } catch (error) { say(words(error), true); }
    busy = false;
    it.removeAttribute("aria-disabled");
    host.touch();
  }

  return it;
}

// Have one button at a place; if another was there with the focus, it gets that.
export function put(place, button) {
  const had = place.contains(document.activeElement);
  arrange(place, [button]);
  if (had) button.focus();
}

// Have these nodes at a place, in this order; those that are there already stay, with the focus.
function arrange(place, nodes) {
  const stay = new Set(nodes);
  for (const node of [...place.childNodes]) if (!stay.has(node)) node.remove();
  let next = place.firstChild;
  for (const node of nodes) {
    if (node === next) next = next.nextSibling;
    else place.insertBefore(node, next);
  }
}

// A text of others: what would turn its direction, or is no text, can be seen.
export const visible = text => String(text).replace(/[\x00-\x08\x0b-\x1f\x7f-\x9f\u200e\u200f\u202a-\u202e\u2066-\u2069]/g, "\ufffd");

export const link = (text, ...path) => h("a", { href: "#/" + path.map(encodeURIComponent).join("/") }, text);
export const runLink = name => link(name, "run", name);
export const jobLink = id => link(id, "job", id);

export const FAILURES = ["failed", "timed_out", "killed", "oom_killed", "lost"];
const BAD = [...FAILURES, "failing", "invalid", "missed", "overdue", "late", "outdated"];
export const LIVE = ["starting", "running", "stopping"];
export const PENDING = ["due", "waiting", "retrying"];
// How many runs of a job, or of all, have not started.
export const pending = it => PENDING.reduce((sum, state) => sum + it[state], 0);
const kind = state => BAD.includes(state) ? "bad" : LIVE.includes(state) ? "live" : state === "succeeded" ? "good" : "quiet";

// English states are their own words, but for one.
export const stateName = state => state === "oom_killed" ? _("out of memory") : _(state.toLowerCase().replaceAll("_", " "));

// A state in its colour, and in words.
export const badge = (state, more = "") => h("span", { class: "state " + kind(state.toLowerCase()) }, stateName(state) + more);

export const quiet = (text = "") => h("p", { class: "quiet" }, text);

// A heading, and what it is about.
export const section = (title, ...children) => h("section", {}, h("h2", {}, title), ...children);

// Facts by name; those that are null are left out, and those that have not changed stay as they are, with the focus.
export class Facts {
  element = h("dl");
  #told = new Map();

  show(pairs) {
    const told = new Map();
    for (const [name, value] of pairs) {
      if (value == null || value === "") continue;
      const made = h("dd", {}, value), known = this.#told.get(name);
      told.set(name, known?.[1].isEqualNode(made) ? known : [h("dt", {}, name), made]);
    }
    arrange(this.element, [...told.values()].flat());
    this.#told = told;
  }
}

// A table whose rows are kept as long as there are their items: `cells` makes those of an item, `key` names it.  Only
// cells that have changed are made anew, so that the focus, what a screen reader reads, and a button that was pressed once
// stay; such buttons are to be in what `cells` is given to keep for its row.
export class Table {
  constructor(caption, heads, key, cells) {
    Object.assign(this, { heads, key, cells, rows: new Map() });
    this.body = h("tbody");
    this.none = quiet();
    this.table = h("table", {}, h("caption", { class: "hidden" }, caption),
      h("thead", {}, h("tr", {}, ...heads.map(head => h("th", { scope: "col" }, head)))), this.body);
    this.element = h("div", { class: "table" }, this.table, this.none);
    this.section = section(caption, this.element);
  }

  show(items, none) {
    const rows = new Map();
    for (const item of items) {
      const key = this.key(item), told = JSON.stringify(item);
      const row = this.rows.get(key) ?? this.#row();
      if (row.told !== told) this.#fill(row, this.cells(item, row.kept));
      row.told = told;
      rows.set(key, row);
    }
    arrange(this.body, [...rows.values()].map(row => row.element));
    this.rows = rows;
    this.table.hidden = !rows.size;
    this.none.hidden = Boolean(rows.size);
    this.none.textContent = none;
  }

  #row() {
    const places = this.heads.map((head, number) => h(number ? "td" : "th", { "data-head": head, scope: number ? null : "row" }));
    return { element: h("tr", {}, ...places), places, kept: {} };
  }

  #fill({ places }, cells) {
    cells.forEach((cell, number) => {
      const made = cell instanceof Node ? cell : document.createTextNode(visible(cell ?? "–")), now = places[number].firstChild;
      if (now !== made && !now?.isEqualNode(made)) places[number].replaceChildren(made);
    });
  }
}

export const language = () => (cockpit.language || "en").replace("_", "-");
const clock = new Intl.DateTimeFormat(language(), { hour: "2-digit", minute: "2-digit", second: "2-digit", timeZoneName: "short" });
const day = new Intl.DateTimeFormat(language(), { month: "short", day: "numeric", year: "numeric" });
const apart = new Intl.RelativeTimeFormat(language(), { numeric: "auto", style: "short" });
const UNITS = [["day", 86400], ["hour", 3600], ["minute", 60], ["second", 1]];
// Seconds for which a time is that of now, and milliseconds after which times are told again.
const NOW = 5;
const AGAIN = 10000;

// An instant in the zone of the browser, and how far it is from now; its title has it in UTC.
export const moment = text => text ? h("time", { datetime: text, title: text }, told(text)) : "–";
const told = text => `${local(text)}, ${relative(text)}`;

// An instant in the zone of the browser, with its date if it is not of today.
export function local(text) {
  const instant = new Date(text), isToday = instant.toDateString() === new Date().toDateString();
  return isToday ? clock.format(instant) : `${day.format(instant)} ${clock.format(instant)}`;
}

// In 5 min., or 3 hr. ago.
function relative(text) {
  const seconds = (new Date(text) - Date.now()) / 1000, [unit, length] = UNITS.find(([, length]) => Math.abs(seconds) >= length) ?? UNITS.at(-1);
  return apart.format(Math.abs(seconds) < NOW ? 0 : Math.trunc(seconds / length), unit);
}

// While somebody looks, times are told again, as they become older, and get their date when the day is over.
export function age() {
  setInterval(() => {
    if (document.hidden) return;
    for (const it of document.querySelectorAll("time")) if (it.textContent !== told(it.dateTime)) it.textContent = told(it.dateTime);
  }, AGAIN);
}

// A duration in seconds: 75 is "1 min 15 s".
export function duration(seconds) {
  if (seconds == null) return "–";
  if (seconds < 1) return `${Math.round(1000 * seconds)} ms`;
  const whole = Math.round(seconds);
  const parts = [[Math.floor(whole / 86400), "d"], [Math.floor(whole / 3600) % 24, "h"], [Math.floor(whole / 60) % 60, "min"], [whole % 60, "s"]];
  const first = parts.findIndex(([count]) => count);
  return parts.slice(first, first + 2).filter(([count]) => count).map(part => part.join(" ")).join(" ");
}

export const between = (from, to) => from && to ? duration((new Date(to) - new Date(from)) / 1000) : "–";
export const size = bytes => bytes == null ? "–" : cockpit.format_bytes(bytes, { base2: true });

// What is said where there may be more than is shown.
export const OWN = _("You see your own runs only; for all, turn on administrative access, or see jobqueued(8).");

export const OLD = _("The daemon is older than this page: restart jobqueued.service.");

// The words for an error.
export function words(error) {
  if (error.isUnreachable) return reach(error.message);
  switch (error.name) {
    case "PermissionDenied": return _("You may not do this, or see this. Turn on administrative access, or see jobqueued(8) on who may do what.");
    case "NoSuchJob": return format(_("There is no longer a job $0."), error.parameters.job);
    case "NoSuchRun": return format(_("There is no run $0, or its record has expired."), error.parameters.run);
    default: return error.isOld ? OLD : error.message;
  }
}

function reach(problem) {
  if (problem === "not-found") return _("jobqueued does not run on this host. To start it: systemctl start jobqueued");
  if (problem === "access-denied") return _("You may not use jobqueued.");
  if (problem === "disconnected") return _("The connection to Cockpit is lost: load this page again.");
  return _("jobqueued does not answer; trying again.");
}
