// All jobs: what needs a person first, then each with where it stands.

import { host } from "./host.js";
import { _, badge, format, h, jobLink, moment, runLink, section, Table } from "./elements.js";

// More rows help nobody, and cost the browser a second.
const SHOWN = 200;
const NEEDY = 20;
const KINDS = ["invalid", "failing", "missed", "late", "overdue", "outdated", "paused"];

const FILTERS = {
  all: [_("all"), () => true],
  needy: [_("that need attention"), job => job.failing_since || job.invalid || job.overdue_since || job.late || job.status === "Outdated"],
  live: [_("that run"), job => job.running],
  waiting: [_("that wait"), job => job.waiting || job.due || job.retrying],
  paused: [_("that are paused"), job => job.paused],
  disabled: [_("that are disabled"), job => !job.enabled],
};

// What was looked for stays when one comes back from a job.
const chosen = { text: "", filter: "all" };

export function jobsView() {
  const needy = new Table(_("Needs attention"), [_("What"), _("Job"), _("Run"), _("Since"), _("Why")],
    it => `${it.kind} ${it.job} ${it.run}`,
    it => [badge(it.kind), jobLink(it.job), it.run && runLink(it.run), moment(it.since), it.reason]);
  const others = h("p", { class: "quiet" }), attention = section(_("Needs attention"), needy.element, others);
  const table = new Table(_("Jobs"), [_("Job"), _("Status"), _("Next start"), _("Last run"), _("Running"), _("Waiting")], job => job.id, cells, told);
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
    const found = status?.attention.slice(0, NEEDY) ?? [];
    attention.hidden = !found.length;
    needy.show(found, "");
    const all = status ? KINDS.reduce((sum, kind) => sum + status[kind], 0) : 0;
    others.textContent = all > found.length ? format(_("The first $0 of $1; all of them: jobqueuectl list --failed"), found.length, all) : "";
    const words = chosen.text.toLowerCase().split(/\s+/), [, suits] = FILTERS[chosen.filter];
    const shown = jobs.filter(job => suits(job) && words.every(word => about(job).includes(word)));
    count.textContent = shown.length > SHOWN ? format(_("The first $0 of $1; look for fewer."), SHOWN, shown.length) : "";
    table.show(shown.slice(0, SHOWN), !status ? "" : jobs.length ? _("No job is like that.")
      : _("There are no jobs yet. Put a file into /etc/jobqueue.d; see jobqueue.d(5)."));
  }

  const form = h("form", { role: "search", onsubmit: event => event.preventDefault() },
    h("label", {}, _("Look for"), text), h("label", {}, _("Jobs"), filters));
  return { element: h("div", {}, attention, section(_("Jobs"), form, count, table.element)), update };
}

const about = job => `${job.id} ${job.description} ${job.tags.join(" ")} ${job.status}`.toLowerCase();

const told = job => JSON.stringify([
  job.description, job.status, job.next, job.last_run, job.last_state, job.running, job.waiting, job.due, job.retrying,
]);

function cells(job) {
  const last = job.last_run && h("span", {}, job.last_state ? badge(job.last_state) : "", " ", moment(job.last_run));
  return [
    h("span", {}, jobLink(job.id), job.description ? h("span", { class: "quiet about" }, job.description) : ""),
    badge(job.status), moment(job.next), last, String(job.running), String(job.waiting + job.due + job.retrying),
  ];
}
