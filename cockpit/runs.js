// What runs now, what waits, and what has ended lately.

import { client, host } from "./host.js";
import { follow } from "./varlink.js";
import { _, badge, between, duration, format, h, moment, OWN, PENDING, quiet, runLink, section, size, Table, words } from "./elements.js";
import { button } from "./actions.js";

const ENDED = ["succeeded", "failed", "timed_out", "killed", "oom_killed", "lost", "skipped"];
const RETRY = 2000;
// So many of those that wait for no lock are asked about one by one.
const ASKED = 10;

// What each run waits for: the locks that it lacks, and who has them; of the first others what Why says.
async function waitsFor(runs) {
  const { claims } = await client.call("Locks"), holders = new Map(), found = new Map();
  for (const { lock, holder, held } of claims) if (held) holders.set(lock, [...holders.get(lock) ?? [], holder]);
  for (const { lock, holder, reason } of claims.filter(claim => !claim.held)) {
    const why = reason || format(_("$0 has it"), holders.get(lock)?.join(", ") ?? _("somebody"));
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
  const past = ended(_("Ended lately"));
  const more = quiet();
  let over = false, busy = false, stop = () => {};

  function measure() {
    stop();
    if (document.hidden) return;
    stop = follow("Usage", {}, ({ runs }) => live.show(runs, nothing(_("Nothing runs."))), error => {
      live.show([], words(error));
      if (!over && error.name !== "PermissionDenied") setTimeout(() => over || measure(), RETRY);
    });
  }

  async function update() {
    if (busy || !host.status || host.error) return;
    busy = true;
    try {
      const [waiting, before] = await Promise.all([
        client.call("History", { states: PENDING }), client.call("History", { states: ENDED }),
      ]);
      const all = host.status.waiting + host.status.due + host.status.retrying;
      const wait = waiting.runs.filter(run => PENDING.includes(run.state));
      const why = wait.length ? await waitsFor(wait) : null;
      queue.show(wait.map(run => ({ ...run, why: why.get(run.run) })), nothing(_("Nothing waits.")));
      more.textContent = host.isStranger ? OWN : all > waiting.runs.length ? format(_("The newest $0 of $1."), waiting.runs.length, all) : "";
      past.show(before.runs, nothing(_("Nothing has run yet.")));
    } catch (error) {
      queue.show([], words(error));
      past.show([], words(error));
    }
    busy = false;
  }

  document.addEventListener("visibilitychange", measure);
  measure();
  return {
    element: h("div", {}, section(_("Running"), live.element), section(_("Waiting"), queue.element, more), section(_("Ended lately"), past.element)),
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
