// All jobs: what needs a person first, then each with where it stands; one job; and what is wrong for longer.

import { place as nameOf } from "./banners.js";
import { client, host, inTurn } from "./host.js";
import { _, badge, button, duration, Facts, format, h, jobLink, local, moment, pending, quiet, runLink, section, Table, visible, words } from "./elements.js";
import { ended, LastOutput } from "./runs.js";

// More rows help nobody, and cost the browser a second.
const SHOWN = 200;
const NEEDY = 20;
// Starts of a job.
const NEXT = 5;
// Bytes of a job file, at most.
const READ = 4 << 20;
const KINDS = ["invalid", "failing", "missed", "late", "overdue", "outdated", "paused", "set_back"];

const FILTERS = {
  all: [_("all"), () => true],
  needy: [_("that need attention"), job => job.failing_since || job.invalid || job.overdue_since || job.late || job.status === "Outdated"],
  live: [_("that run"), job => job.running],
  waiting: [_("that wait"), pending],
  paused: [_("that are paused"), job => job.paused],
  disabled: [_("that are disabled"), job => !job.enabled],
};

// The status has the number of a fleet's hosts only: after so long they are asked for all the same.
const KNOWN = 60000;
// Alone, or in a shell that stays on its host, the page can't leave it.
const jumps = parent !== window && parent.document.querySelector("[name=allow-multihost]")?.content !== "no";

// What was looked for stays when one comes back from a job.
const chosen = { text: "", filter: "all" };

export function jobsView() {
  const needy = new Table(_("Needs attention"), [_("What"), _("Job"), _("Run"), _("Since"), _("Why")],
    it => `${it.kind} ${it.job} ${it.run}`,
    it => [badge(it.kind), jobLink(it.job), it.run && runLink(it.run), moment(it.since), it.reason]);
  const others = quiet();
  needy.section.append(others);
  const fleet = fleetSection();
  const table = new Table(_("Jobs"), [_("Job"), _("Status"), _("Next start"), _("Last run"), _("Running"), _("Waiting")], job => job.id, cells);
  const text = h("input", { type: "search", id: "text", value: chosen.text, oninput: filter });
  const filters = h("select", { id: "which", onchange: filter },
    ...Object.entries(FILTERS).map(([name, [text]]) => h("option", { value: name, selected: name === chosen.filter }, text)));
  const count = h("p", { class: "quiet", "aria-live": "polite" });

  function filter() {
    Object.assign(chosen, { text: text.value, filter: filters.value });
    update();
  }

  function update() {
    const { status, jobs } = host;
    fleet.update();
    const found = status?.attention.slice(0, NEEDY) ?? [];
    needy.section.hidden = !found.length;
    needy.show(found, "");
    const all = status ? KINDS.reduce((sum, kind) => sum + status[kind], 0) : 0;
    others.textContent = all > found.length ? format(_("The first $0 of $1; all of them: jobqueuectl list --failed"), found.length, all) : "";
    const words = chosen.text.toLowerCase().split(/\s+/), [, suits] = FILTERS[chosen.filter];
    const shown = jobs.filter(job => suits(job) && words.every(word => about(job).includes(word)));
    count.textContent = shown.length > SHOWN ? format(_("The first $0 of $1; narrow the search."), SHOWN, shown.length) : "";
    table.show(shown.slice(0, SHOWN), !status ? "" : jobs.length ? _("No job matches.")
      : _("There are no jobs yet. Put a file into /etc/jobqueue.d; see jobqueue.d(5)."));
  }

  const form = h("form", { role: "search", onsubmit: event => event.preventDefault() },
    h("label", {}, _("Look for"), text), h("label", {}, _("Jobs"), filters));
  table.element.before(form, count);
  return { element: h("div", {}, needy.section, fleet.element, table.section), update };
}

const about = job => `${job.id} ${job.description} ${job.tags.join(" ")} ${job.status}`.toLowerCase();

function cells(job) {
  const last = job.last_run && h("span", {}, job.last_state ? badge(job.last_state) : "", " ", moment(job.last_run));
  return [
    h("span", {}, jobLink(job.id), job.description ? h("span", { class: "quiet about" }, job.description) : ""),
    badge(job.status), moment(job.next), last, String(job.running), String(pending(job)),
  ];
}

// The hosts of the fleet, if this one is in one; their names may be any text.
function fleetSection() {
  let found = {}, told = "", asked = 0;
  const isThis = it => it.host === found.host;
  const table = new Table(_("Fleet"), [_("Host"), _("Labels"), _("State")], it => it.host, it => [
    isThis(it) ? h("strong", {}, format(_("$0 (this host)"), it.host))
      : jumps && /^\w[\w.-]*$/.test(it.host) ? h("button", { onclick: () => cockpit.jump("/jobqueued", it.host) }, it.host) : it.host,
    it.labels.join(", ") || null, it.held ? _("on hold") : null,
  ]);
  const more = quiet(), element = table.section;
  element.append(more);

  async function update() {
    const { fleet, fleet_hosts, held_by } = host.status ?? {}, now = performance.now(), tells = `${fleet} ${fleet_hosts} ${held_by}`;
    element.hidden = !fleet;
    if (!fleet || host.error || (tells === told && now < asked + KNOWN)) return;
    told = tells;
    asked = now;
    element.firstChild.textContent = `${_("Fleet")} ${fleet}`;
    try {
      found = await client.call("Fleet");
      const hosts = found.about.sort((one, other) => isThis(other) - isThis(one)), left = hosts.length - NEEDY;
      table.show(hosts.slice(0, NEEDY), visible(format(_("It is unreachable: $0"), found.down)));
      more.textContent = left > 0 ? format(_("$0 more are not shown."), left) : "";
    } catch (error) {
      told = "";
      table.show([], words(error));
    }
  }

  return { element, update };
}

// One job: what it runs and when, its last output, its newest runs and next starts, its definition, and what can be done with it.
export function jobView(id) {
  const about = new Facts(), last = new LastOutput(), past = ended(_("Newest runs")), next = h("ul");
  const definition = h("pre", { tabindex: 0 }), place = quiet();
  const problem = h("p", { class: "bad", role: "alert" });
  const does = (text, method, told) => button(text, () => client.call(method, { job: id }).then(told));
  const run = does(_("Run now"), "Run", ({ run: due }) => format(_("$0 is due."), due));
  const resume = does(_("Resume"), "Resume", () => format(_("$0 is resumed."), id));
  const pause = does(_("Pause"), "Pause", () => format(_("$0 is paused."), id));
  const skip = does(_("Skip next"), "SkipNext", ({ due }) => format(_("The start at $0 is skipped."), local(due)));
  const doing = h("p", { class: "actions", hidden: true }, run, resume, pause, skip);
  let known = "";

  const update = inTurn(async () => {
    const [told, { next: starts }] = await Promise.all([
      client.call("Describe", { job: id, runs: 20 }), client.call("Next", { job: id, count: NEXT }),
    ]);
    const now = JSON.stringify([told, starts, host.status?.stale]);
    if (now !== known) {
      show(told, starts);
      await define(told);
    }
    known = now;
    problem.textContent = "";
    await last.show(told.runs.find(it => it.started));
  }, error => {
    problem.textContent = words(error);
    if (error.name === "NoSuchJob") clear();
  });

  function clear() {
    known = "";
    about.show([]);
    next.replaceChildren();
    place.textContent = definition.textContent = "";
    last.show();
    doing.hidden = true;
  }

  async function define({ job, definition: keys }) {
    const source = await sourceOf(job), isStale = host.status?.stale.includes(job.file);
    place.textContent = source === null ? _("You can't read the file of this job: the daemon's definition is shown.")
      : isStale ? format(_("$0 has errors: its last good version stays in force."), nameOf(job)) : nameOf(job);
    definition.textContent = visible(source ?? JSON.stringify(keys, null, 2));
  }

  function show({ job, definition: keys, stats, runs }, starts) {
    const newest = runs.find(it => it.ended);
    about.show([
      [_("Status"), badge(job.status)], [_("Wrong"), job.invalid], [_("About"), job.description],
      [_("Command"), h("code", {}, commandLine(keys.command))], [_("Schedule"), rhythm(job, keys)],
      [_("Next start"), starts.length ? moment(starts[0]) : null],
      [_("Last run"), newest && h("span", {}, runLink(newest.run), " ", badge(newest.state), " ", moment(newest.ended))],
      [_("Usually takes"), stats.usual ? duration(stats.usual) : null],
      [_("Failing since"), job.failing_since && moment(job.failing_since)], [_("Paused until"), job.paused_until && moment(job.paused_until)],
      [_("Tags"), job.tags.join(", ")], [_("File"), nameOf(job)], [_("Drop-ins"), job.drop_ins?.join(", ")],
    ]);
    const none = job.paused ? _("None while it is paused.") : job.enabled ? _("It has no scheduled start.") : _("None, because it is disabled.");
    next.replaceChildren(...(starts.length ? starts.map(start => h("li", {}, moment(start))) : [h("li", { class: "quiet" }, none)]));
    past.show(runs, _("It has not run yet."));
    const [now, before] = job.paused ? [resume, pause] : [pause, resume], had = document.activeElement === before;
    now.hidden = false;
    before.hidden = true;
    if (had) now.focus();
    skip.hidden = !starts.length;
    doing.hidden = false;
  }

  return {
    element: h("div", {}, h("h1", {}, id), problem, doing, h("section", {}, about.element), last.section, past.section,
      section(_("Next starts"), next), section(_("Definition"), place, definition)),
    update,
    close: () => last.close(),
  };
}

// Words of a command without a shell; those that a shell would read otherwise are in quotes.
const commandLine = command => typeof command === "string" ? command.trimEnd()
  : command.map(word => /^[\w@%+=:,./-]+$/.test(word) ? word : `'${word.replaceAll("'", "'\\''")}'`).join(" ");
const rhythm = (job, keys) => job.schedule.length ? `${job.schedule.join("; ")}${keys.schedule?.length ? ` (${job.timezone})` : ""}` : null;

// The lines of its file that define a job, with the comment above them; null: who looks can't read them.
async function sourceOf({ id, file, line }) {
  if (!line) return null;
  const handle = cockpit.file(file, { superuser: "try", max_read_size: READ });
  const text = await handle.read().catch(() => null);
  handle.close();
  return text === null ? null : excerpt(text, line - 1, /\.ya?ml$/.test(file) ? id.replace(/^.*\//, "") : "");
}

// The lines from this one up to the next key that is not indented further; comments and texts may be indented less. Without a name, the
// line is one of cron's tables and stands alone. null: the line has no such name, as the file has changed.
export function excerpt(text, first, name) {
  const lines = text.split("\n"), depth = line => line.search(/\S|$/), isComment = line => /^\s*#/.test(line);
  if (!lines[first]?.includes(name)) return null;
  const indent = depth(lines[first]);
  const isOther = line => depth(line) <= indent && (/^\s*[^\s#].*:(\s|$)/.test(line) || /^(---|\.\.\.)/.test(line));
  const isBetween = line => !line.trim() || (isComment(line) && depth(line) <= indent);
  let begin = first, end = first + 1;
  while (begin && isComment(lines[begin - 1]) && depth(lines[begin - 1]) === indent) begin--;
  for (let next = end; name && next < lines.length && !isOther(lines[next]); next++) if (!isBetween(lines[next])) end = next + 1;
  return lines.slice(begin, end).map(line => line.slice(Math.min(indent, depth(line)))).join("\n").trimEnd();
}

const SEVERITIES = { error: _("error"), warning: _("warning") };

// What is wrong in files, what is wrong for longer, and the notices that wait to be sent.
export function incidentsView() {
  const files = new Table(_("Problems in files"), [_("Place"), _("Severity"), _("Job"), _("Trouble")], it => JSON.stringify(it), it => [
    nameOf(it), h("span", { class: it.severity === "error" ? "state bad" : "quiet" }, SEVERITIES[it.severity]), it.job || null, it.key ? `${it.key}: ${it.message}` : it.message,
  ]);
  const unnamed = quiet();
  files.section.append(unnamed);
  const open = new Table(_("Open incidents"), [_("What"), _("Kind"), _("Since"), _("Times"), _("First run"), _("Notified")], it => it.subject, it => [
    it.subject, badge(it.kind), moment(it.since), String(it.times), it.first_run && runLink(it.first_run), it.told.join(", "),
  ]);
  const waiting = new Table(_("Notices that wait"), [_("Notice"), _("To"), _("Since"), _("Tries"), _("Trouble")], it => it.id, it => [
    it.summary, it.target, moment(it.created), String(it.tries), it.error,
  ]);
  const more = quiet();
  waiting.section.append(more);

  const ask = inTurn(async () => {
    const found = await client.call("Notices");
    open.show(found.incidents, _("No incident is open."));
    waiting.show(found.notices, _("No notice waits."));
    more.textContent = found.more ? format(_("$0 more are not shown."), found.more) : "";
  }, error => {
    open.show([], words(error));
    waiting.show([], "");
  });

  function update() {
    const { problems = [] } = host.status ?? {}, isWarning = it => it.severity !== "error";
    const all = [...problems].sort((one, other) => isWarning(one) - isWarning(other)), more = all.length - SHOWN;
    files.section.hidden = !all.length;
    files.show(all.slice(0, SHOWN), "");
    unnamed.textContent = more > 0 ? format(_("$0 more are not shown."), more) : "";
    return ask();
  }

  return { element: h("div", {}, files.section, open.section, waiting.section), update };
}
