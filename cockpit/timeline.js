// The runs of the last hours as a chart: a lane for each job, waits before the runs.

import { client, host, inTurn } from "./host.js";
import { _, format, h, language, OWN, quiet, section, stateName, svg, words } from "./elements.js";

const HOURS = [1, 6, 24];
const HOUR = 3600000;
const RUNS = 1000;
const PAUSE = 9000;
const LANES = 60;
const HEIGHT = 20;
const NAMES = 180;
const WIDTH = 1000;

export function timelineView() {
  const chart = h("div", { class: "chart" }), note = h("p", { class: "quiet", role: "status" });
  const hours = h("select", { id: "hours", onchange: () => load() }, ...HOURS.map(count => h("option", { value: count }, format(_("$0 h"), count))));
  let drawn = 0;

  const load = inTurn(async () => {
    if (!host.status) return;
    let chosen;
    do {
      chosen = hours.value;
      const until = await host.now(), since = until - chosen * HOUR;
      const { runs, isAll } = await history(since);
      draw(chart, runs, since, until);
      const lanes = new Set(runs.map(run => run.job)).size;
      note.textContent = [
        format(_("Runs: $0, jobs: $1."), runs.length, lanes), isAll ? "" : _("Older ones are left out."),
        host.isStranger ? OWN : "", lanes > LANES ? format(_("The first $0 jobs are drawn."), LANES) : "",
      ].join(" ");
      drawn = Date.now();
    } while (hours.value !== chosen);
  }, error => { note.textContent = words(error); });

  return {
    element: section(_("Timeline"), h("form", {}, h("label", {}, _("Last"), hours)), note, chart),
    update: () => Date.now() - drawn > PAUSE && load(),
  };
}

async function history(since) {
  const runs = [];
  let before = null;
  do {
    const page = await client.call("History", { since: new Date(since).toISOString(), before });
    runs.push(...page.runs);
    before = page.next;
  } while (before && runs.length < RUNS);
  return { runs, isAll: !before };
}

function draw(chart, runs, since, until) {
  const lanes = [...new Set(runs.map(run => run.job))].sort().slice(0, LANES);
  const x = instant => NAMES + (WIDTH - NAMES) * Math.min(1, Math.max(0, (instant - since) / (until - since)));
  const place = new Map(lanes.map((job, number) => [job, HEIGHT * (number + 1)]));
  const drawn = runs.filter(run => place.has(run.job)).map(run => bars(run, place.get(run.job), x, until));
  const names = lanes.map(job => svg("text", { x: 0, y: place.get(job) + 14 }, job.length > 26 ? `${job.slice(0, 25)}…` : job));
  const focused = chart.contains(document.activeElement) ? document.activeElement.getAttribute("href") : null;
  chart.replaceChildren(lanes.length
    ? svg("svg", { viewBox: `0 0 ${WIDTH} ${HEIGHT * (lanes.length + 1)}`, role: "group", "aria-label": _("Timeline") }, ...scale(since, until, x, lanes.length), ...names, ...drawn)
    : quiet(_("Nothing ran.")));
  if (focused) [...chart.querySelectorAll("a")].find(it => it.getAttribute("href") === focused)?.focus();
}

function scale(since, until, x, lanes) {
  const step = (until - since) / 6;
  return [0, 1, 2, 3, 4, 5].flatMap(number => {
    const instant = since + number * step;
    return [
      svg("line", { x1: x(instant), x2: x(instant), y1: 14, y2: HEIGHT * (lanes + 1) }),
      svg("text", { x: x(instant) + 2, y: 12, class: "quiet" }, new Date(instant).toLocaleTimeString(language(), { hour: "2-digit", minute: "2-digit" })),
    ];
  });
}

function bars(run, y, x, until) {
  const due = Date.parse(run.queued || run.due), start = run.started ? Date.parse(run.started) : null;
  const end = run.ended ? Date.parse(run.ended) : until;
  const title = [run.run, stateName(run.state), run.reason].filter(Boolean).join(": ");
  const bar = (from, to, kind) => svg("rect", { x: x(from), y: y + 3, width: Math.max(2, x(to) - x(from)), height: HEIGHT - 6, class: kind });
  const before = run.state === "skipped" ? bar(due, due, "skipped") : start === null || start - due > 1000 ? bar(due, start ?? end, "waits") : null;
  const itself = start === null ? null : bar(start, end, run.state);
  return svg("a", { href: `#/run/${encodeURIComponent(run.run)}`, "aria-label": title }, svg("title", {}, title), before, itself);
}
