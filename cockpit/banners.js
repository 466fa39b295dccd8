// The banners: each names something that is wrong, by the facts of Status, and leads to it.

import { _, badge, format, jobLink, link, runLink } from "./elements.js";

// Jobs, or files, that are named at most.
const NAMED = 3;
const KINDS = ["invalid", "failing", "missed", "late", "overdue", "outdated"];

// Of each banner its texts and links.
export const banners = (status, failed) => [
  ...ofHost(status), ...ofFiles(status.problems), ...KINDS.filter(kind => status[kind]).map(kind => ofJobs(kind, status)),
  ...ofSubmissions(failed.filter(run => !status.attention.some(it => it.job === run.job))),
];

// The file and line of a problem; of a file of others only its name is known.
export const place = ({ file, line }) => line ? `${file}:${line}` : file;

function ofHost({ reason, launcher, held_by, troubles }) {
  const facts = [
    reason !== null && format(_("The state of the daemon can't be saved: $0"), reason),
    !launcher && _("The launcher does not answer: no new run starts."),
    held_by !== null && format(_("This host is on hold by $0: no new run starts until Release is pressed."), held_by),
  ];
  return [...facts.filter(Boolean), ...troubles].map(text => [text]);
}

function ofFiles(problems) {
  const first = new Map();
  for (const problem of problems) if (problem.severity === "error" && !first.has(problem.file)) first.set(problem.file, problem);
  const found = [...first.values()].slice(0, NAMED).map(problem => [link(place(problem), "incidents"), `: ${problem.message}`]);
  const more = first.size - found.length;
  return more ? [...found, [link(format(_("More files have errors: $0"), more), "incidents")]] : found;
}

// A late run says each time how late it is by then, which is nothing to be read out again.
function ofJobs(kind, status) {
  const found = status.attention.filter(it => it.kind === kind).slice(0, NAMED), more = status[kind] - found.length;
  const named = found.map(it => kind === "late" ? [runLink(it.run)] : [jobLink(it.job), it.reason ? ` (${it.reason})` : ""]);
  return [badge(kind), ": ", ...list(named, more, "jobs")];
}

// An ended submission has no page: its last failed run says more.
function ofSubmissions(failed) {
  const named = failed.slice(0, NAMED).map(({ run }) => [runLink(run)]);
  return failed.length ? [[_("Submissions failed in the last 24 hours"), ": ", ...list(named, failed.length - named.length, "runs")]] : [];
}

function list(named, more, view) {
  const all = more ? [...named, [link(format(_("$0 more"), more), view)]] : named;
  return all.flatMap((parts, number) => number ? [", ", ...parts] : parts);
}
