// One job: how it is defined, when it starts next, its newest runs, and what can be done with it.

import { client, host } from "./host.js";
import { _, badge, duration, Facts, format, h, local, moment, section, visible, words } from "./elements.js";
import { button } from "./actions.js";
import { ended } from "./runs.js";

const NEXT = 5;

export function jobView(id) {
  const about = new Facts(), past = ended(_("Newest runs")), next = h("ul"), definition = h("pre", { tabindex: 0 });
  const problem = h("p", { class: "bad", role: "alert" });
  const does = (text, method, told) => button(text, () => client.call(method, { job: id }).then(told));
  const run = does(_("Run now"), "Run", ({ run: due }) => format(_("$0 is due."), due));
  const resume = does(_("Resume"), "Resume", () => format(_("$0 goes on."), id));
  const pause = does(_("Pause"), "Pause", () => format(_("$0 is paused."), id));
  const skip = does(_("Skip next"), "SkipNext", ({ due }) => format(_("The start at $0 is skipped."), local(due)));
  const doing = h("p", { class: "actions", hidden: true }, run, resume, pause, skip);
  let busy = false, known = "";

  async function update() {
    if (busy || host.error) return;
    busy = true;
    try {
      const [told, { next: starts }] = await Promise.all([
        client.call("Describe", { job: id, runs: 20 }), client.call("Next", { job: id, count: NEXT }),
      ]);
      const now = JSON.stringify([told, starts]);
      if (now !== known) show(told, starts);
      known = now;
      problem.textContent = "";
    } catch (error) {
      problem.textContent = words(error);
      if (error.name === "NoSuchJob") clear();
    }
    busy = false;
  }

  function clear() {
    known = "";
    about.show([]);
    next.replaceChildren();
    definition.textContent = "";
    doing.hidden = true;
  }

  function show({ job, definition: keys, stats, runs }, starts) {
    const place = job.line ? `${job.file}:${job.line}` : job.file;
    about.show([
      [_("Status"), badge(job.status)], [_("Wrong"), job.invalid], [_("About"), job.description], [_("File"), place],
      [_("Tags"), job.tags.join(", ")], [_("Failing since"), job.failing_since && moment(job.failing_since)],
      [_("Paused until"), job.paused_until && moment(job.paused_until)], [_("Usually takes"), stats.usual ? duration(stats.usual) : null],
    ]);
    const none = job.paused ? _("None while it is paused.") : job.enabled ? _("The clock does not start it.") : _("None, as it is disabled.");
    next.replaceChildren(...(starts.length ? starts.map(start => h("li", {}, moment(start))) : [h("li", { class: "quiet" }, none)]));
    definition.textContent = visible(JSON.stringify(keys, null, 2));
    past.show(runs, _("It has not run yet."));
    const [now, before] = job.paused ? [resume, pause] : [pause, resume], had = document.activeElement === before;
    now.hidden = false;
    before.hidden = true;
    if (had) now.focus();
    skip.hidden = !starts.length;
    doing.hidden = false;
  }

  return {
    element: h("div", {}, h("h1", {}, id), problem, doing, h("section", {}, about.element), section(_("Next starts"), next), section(_("Newest runs"), past.element),
      section(_("Definition"), definition)),
    update,
  };
}
