// The runs of the last hours as a chart: a lane for each job, waits before the runs and between their attempts.

import { client, host, inTurn } from "./host.js";
import { _, FAILURES, format, h, language, LIVE, OWN, PENDING, quiet, section, stateName, svg, words } from "./elements.js";

const HOURS = [1, 6, 24];
const HOUR = 3600000;
const RUNS = 1000;
// Replies for them: the daemon looks at a part of its records for each.
const PAGES = 40;
const PAUSE = 9000;
const LANES = 60;
// Waits that are shorter are not drawn.
const SHORT = 1000;
// Of each run something is seen, however short it was; more of one that ended badly.
const LEAST = 2;
const LEAST_BAD = 4;
const ZONE = new Intl.DateTimeFormat().resolvedOptions().timeZone;
// In a narrow window the name of a job is above its lane, and a part of the chart is as wide as on the screen.
const NARROW = 600;

function shape(width) {
  return width < NARROW ? { width: Math.max(width, 240), names: 0, lane: 38, above: 18, ticks: 3 } : { width: 1000, names: 180, lane: 20, above: 0, ticks: 6 };
}

export function timelineView() {
  const chart = h("div", { class: "chart" }), note = h("p", { class: "quiet", role: "status" });
  const hours = h("select", { id: "hours", onchange: () => load() }, ...HOURS.map(count => h("option", { value: count }, format(_("$0 h"), count))));
  let drawn = 0, known = null;

  const load = inTurn(async () => {
    if (!host.status) return;
    let chosen;
    do {
      chosen = hours.value;
      const until = await host.now(), since = until - chosen * HOUR;
      const { runs, isAll } = await history(since);
      known = [runs, since, until];
      draw(chart, ...known);
      const lanes = new Set(runs.map(run => run.job)).size;
      note.textContent = [
        format(_("Runs: $0, jobs: $1."), runs.length, lanes), format(_("Time zone: $0."), ZONE),
        isAll ? "" : _("Older runs are omitted, unless they ended badly."),
        host.isStranger ? OWN : "", lanes > LANES ? format(_("Only the first $0 jobs are shown."), LANES) : "",
      ].join(" ");
      drawn = Date.now();
    } while (hours.value !== chosen);
  }, error => { note.textContent = words(error); });

  const sizes = new ResizeObserver(() => known && draw(chart, ...known));
  sizes.observe(chart);
  return {
    element: section(_("Timeline"), h("form", {}, h("label", {}, _("Last"), hours)), note, legend(), chart),
    update: () => Date.now() - drawn > PAUSE && load(),
    close: () => sizes.disconnect(),
  };
}

function legend() {
  const signs = [
    ["succeeded", stateName("succeeded")], ["failed", _("ended badly (taller)")], ["running", stateName("running")],
    ["waits", _("waits to start, or to be retried (hollow)")], ["skipped", stateName("skipped")],
  ];
  return h("ul", { class: "legend" }, ...signs.map(([kind, text]) =>
    h("li", {}, svg("svg", { viewBox: "0 0 16 20", "aria-hidden": "true" }, rect(2, 12, 0, kind)), text)));
}

// The newest runs; where there are more, so are all that ended badly.
async function history(since) {
  const newest = await read(since);
  if (newest.isAll) return newest;
  const bad = await read(since, FAILURES), found = new Map([...newest.runs, ...bad.runs].map(run => [run.run, run]));
  return { runs: [...found.values()], isAll: false };
}

async function read(since, states) {
  const runs = [];
  let before = null, pages = 0;
  do {
    const page = await client.call("History", { states, since: new Date(since).toISOString(), before });
    runs.push(...page.runs);
    before = page.next;
  } while (before && runs.length < RUNS && ++pages < PAGES);
  return { runs, isAll: !before };
}

function draw(chart, runs, since, until) {
  const { width, names, lane, above, ticks } = shape(chart.clientWidth), lanes = [...new Set(runs.map(run => run.job))].sort().slice(0, LANES);
  const x = instant => names + (width - names) * Math.min(1, Math.max(0, (instant - since) / (until - since)));
  const place = new Map(lanes.map((job, number) => [job, 20 + lane * number]));
  // What ended badly is drawn last, so that nothing covers it.
  const isBad = run => FAILURES.includes(run.state), ordered = [...runs].sort((one, other) => isBad(one) - isBad(other));
  const drawn = ordered.filter(run => place.has(run.job)).map(run => bars(run, place.get(run.job) + above, x, until, width));
  const labels = lanes.map(job => svg("text", { x: 0, y: place.get(job) + 14 }, job.length > 26 ? `${job.slice(0, 25)}…` : job));
  const focused = chart.contains(document.activeElement) ? document.activeElement.getAttribute("href") : null;
  const height = 20 + lane * lanes.length;
  chart.replaceChildren(lanes.length
    ? svg("svg", { viewBox: `0 0 ${width} ${height}`, role: "group", "aria-label": _("Timeline") }, ...scale(since, until, x, height, ticks), ...labels, ...drawn)
    : quiet(_("Nothing ran.")));
  if (focused) [...chart.querySelectorAll("a")].find(it => it.getAttribute("href") === focused)?.focus();
}

function scale(since, until, x, height, ticks) {
  const step = (until - since) / ticks;
  return Array.from({ length: ticks }, (_none, number) => since + number * step).flatMap(instant => [
    svg("line", { x1: x(instant), x2: x(instant), y1: 14, y2: height }),
    svg("text", { x: x(instant) + 2, y: 12, class: "quiet" }, new Date(instant).toLocaleTimeString(language(), { hour: "2-digit", minute: "2-digit" })),
  ]);
}

function rect(x, width, y, kind) {
  const isBad = FAILURES.includes(kind);
  return svg("rect", { x, y: isBad ? y + 1 : y + 4, width, height: isBad ? 18 : 12, class: kind });
}

function bars(run, y, x, until, end) {
  const title = [run.run, stateName(run.state), run.reason].filter(Boolean).join(": ");
  const parts = pieces(run, until).map(([from, to, kind]) => {
    const width = Math.max(FAILURES.includes(kind) ? LEAST_BAD : LEAST, x(to) - x(from));
    return rect(Math.min(x(from), end - width), width, y, kind);
  });
  return svg("a", { href: `#/run/${encodeURIComponent(run.run)}`, "aria-label": title }, svg("title", {}, title), ...parts);
}

// What a run did, one after the other: its waits, and its attempts by their states.
export function pieces(run, until) {
  const parse = text => text ? Date.parse(text) : null, found = [], queued = parse(run.queued ?? run.due);
  if (run.state === "skipped") return [[queued, queued, "skipped"]];
  let free = queued;

  function add(from, to, kind) {
    if (from - free >= SHORT) found.push([free, from, "waits"]);
    if (kind) found.push([from, to, kind]);
    free = to;
  }

  const isLive = LIVE.includes(run.state), over = isLive || PENDING.includes(run.state) ? until : parse(run.ended) ?? until;
  const tries = run.attempts?.length || isLive ? run.attempts ?? [] : [run];
  for (const { started, ended, state } of tries) if (started) add(parse(started), parse(ended) ?? over, state);
  if (isLive && run.started) add(parse(run.started), until, run.state);
  else if (!found.some(([, , kind]) => kind === run.state) && FAILURES.includes(run.state)) add(over, over, run.state);
  else add(over, over);
  return found;
}
