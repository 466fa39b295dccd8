// The page: the view that the address names, and what is above each of them.

import { banners } from "./banners.js";
import { client, host } from "./host.js";
import { _, age, button, format, h, link, OLD, pending, put, words } from "./elements.js";
import { incidentsView, jobsView, jobView } from "./jobs.js";
import { runsView, runView } from "./runs.js";
import { timelineView } from "./timeline.js";

const VIEWS = { jobs: jobsView, job: jobView, runs: runsView, run: runView, timeline: timelineView, incidents: incidentsView };
const NAMED = ["job", "run"];
const at = id => document.getElementById(id);
const release = button(_("Release"), () => client.call("Release").then(() => _("Runs start again.")));
const hold = button(_("Hold"), () => client.call("Hold").then(() => _("Nothing new starts.")), _("Start nothing new?"));
let view = null;

function show() {
  let [name = "jobs", ...rest] = cockpit.location.path;
  if (!Object.hasOwn(VIEWS, name) || (NAMED.includes(name) && !rest[0])) name = "jobs";
  host.wantsJobs = name === "jobs";
  if (view) at("view").focus();
  view?.close?.();
  view = VIEWS[name](...rest);
  const titles = { jobs: _("Jobs"), runs: _("Runs"), timeline: _("Timeline"), incidents: _("Incidents") };
  at("view").replaceChildren(titles[name] ? h("h1", { class: "hidden" }, titles[name]) : "", view.element);
  at("views").replaceChildren(...Object.entries(titles).map(([path, text]) => {
    const it = link(text, path);
    if (path === name || path === name + "s") it.setAttribute("aria-current", "page");
    return it;
  }));
  document.title = titles[name] ?? rest[0];
  at("done").textContent = "";
  host.touch();
  update();
}

function update() {
  let wrong = [];
  try {
    if (host.status) {
      tell(host.status);
      wrong = banners(host.status, host.failed);
    }
    view?.update(host.changed);
  } catch (error) { // an answer lacks what this page reads
    console.warn(error);
    host.isOld = true;
  }
  banner(wrong);
  document.body.classList.toggle("old", Boolean(host.error));
}

function banner(wrong) {
  const { error, isOld } = host, place = at("banner");
  const told = error ? [[words(error)]] : isOld ? [[OLD], ...wrong] : wrong;
  const made = told.map(parts => h("p", {}, ...parts));
  place.className = error ? "bad" : "";
  if (made.length === place.children.length && made.every((it, number) => it.isEqualNode(place.children[number]))) return;
  place.replaceChildren(...made);
}

function tell(status) {
  const facts = format(_("Jobs: $0, running: $1, waiting: $2"), status.jobs, status.running, pending(status));
  at("host").replaceChildren(
    h("strong", {}, status.host), ` jobqueued ${status.version}: ${facts} `,
    status.held_by ? h("span", { class: "state bad" }, format(_("on hold by $0"), status.held_by)) : "",
  );
  put(at("action"), status.held_by ? release : hold);
}

// The shell has a style of its own, which the page takes over.
function style() {
  const chosen = localStorage.getItem("shell:style") || "auto";
  const dark = chosen === "dark" || (chosen === "auto" && matchMedia("(prefers-color-scheme: dark)").matches);
  document.documentElement.classList.toggle("dark", dark);
}

// A channel keeps the rights with which it was opened.
function watchRights() {
  const rights = cockpit.dbus(null, { bus: "internal" }).proxy("cockpit.Superuser", "/superuser");
  let before = null;
  rights.addEventListener("changed", () => {
    const now = rights.valid && rights.Current !== "init" ? rights.Current : null;
    if (before !== null && now !== null && now !== before) location.reload();
    before = now ?? before;
  });
}

style();
addEventListener("storage", style);
addEventListener("cockpit-style", style);
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", style);
document.documentElement.lang = cockpit.language || "en";
cockpit.addEventListener("locationchanged", show);
age();
show(); // it is painted while the bridge is still being reached
watchRights();
host.start(update);
