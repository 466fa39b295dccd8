// The host as the page knows it: asked anew when the daemon has said something, a second after the last time at most.

import { Client, follow } from "./varlink.js";

const PAUSE = 1000;
// A start is told in several events: so long the others are waited for.
const SETTLE = 100;
// So much longer than an answer takes is the pause after it: with 10,000 jobs it is some megabytes.
const TIMES = 4;
const MOST = 10000;
const LONGEST = 10000;
// No event tells that a run waits, or that the daemon hangs: after so long it is asked all the same.
const ASK = 10000;
const POLL = 5000;
// For so long a submission counts as failed, as in jobqueuectl status; without news it is asked for that often, in so many pages at most.
const DAY = 24 * 3600 * 1000;
const AGAIN = 60000;
const PAGES = 4;
const FAILED = ["failed", "timed_out", "oom_killed", "lost"];

export const client = new Client();

// What asks the daemon, not while it does so already or the daemon is away; `wrong` gets the error.
export function inTurn(ask, wrong) {
  let busy = false;
  return async (...those) => {
    if (busy || host.error) return;
    busy = true;
    try { await ask(...those); } catch (error) { wrong(error); }
    busy = false;
  };
}

class Host {
  status = null;
  jobs = [];
  error = null;
  changed = new Set();
  // The last failed run of each submission that failed in the last day.
  failed = [];
  // Whether who looks may see own runs only; null: that is not known yet.
  isStranger = null;
  wantsJobs = true;
  isOld = false;
  // What the clock of the host is ahead of the browser's, in ms.
  #ahead = null;
  #listener = () => {};
  #stale = true;
  #busy = false;
  #timer = null;
  #next = 0;
  #retry = PAUSE;
  #stop = null;
  #failuresAt = -Infinity;

  // Tell `listener` of each change; `changed` are the runs of which the daemon has told since the last one.
  start(listener) {
    this.#listener = listener;
    document.addEventListener("visibilitychange", () => this.#look());
    setInterval(() => document.hidden || this.touch(), ASK);
    this.#look();
  }

  // What time it is there: asked once, as the answer takes 0.3 s.  Where there is none the clocks count as one.
  async now() {
    this.#ahead ??= client.call("Usage").then(({ host }) => Date.parse(host.now.time) - Date.now()).catch(() => 0);
    return await this.#ahead + Date.now();
  }

  // While nobody looks nothing is asked, and no connection is held.
  #look() {
    if (document.hidden) {
      this.#stop?.();
      this.#stop = null;
    } else {
      if (!this.#stop) this.#watch();
      this.touch();
    }
  }

  // What is known may not be true any more.
  touch() {
    this.#stale = true;
    this.#plan();
  }

  #watch() {
    this.#stop = follow("Watch", {}, ({ events }) => {
      this.#retry = PAUSE;
      this.isOld = false;
      for (const { run } of events) if (this.changed.size < MOST) this.changed.add(run);
      this.touch();
    }, error => {
      if (!error.isUnreachable) {
        this.isOld = error.isOld;
        this.touch();
        this.#again(POLL);
        return;
      }
      this.#fail(error);
      this.isStranger = this.#ahead = null; // the next one may have other settings
      this.touch();
      this.#listener();
      this.#again(this.#retry);
      this.#retry = Math.min(2 * this.#retry, LONGEST);
    });
  }

  #again(pause) {
    const timer = setTimeout(() => this.#watch(), pause);
    this.#stop = () => clearTimeout(timer);
  }

  #plan() {
    if (this.#timer !== null || this.#busy || !this.#stale || document.hidden) return;
    this.#timer = setTimeout(() => this.#refresh(), this.#next && Math.max(SETTLE, this.#next - performance.now()));
  }

  // Where Cockpit is gone, what comes after that says less.
  #fail(error) {
    if (this.error?.message !== "disconnected") this.error = error;
  }

  // Who looks.
  async #ask() {
    try {
      await client.call("Notices");
      this.isStranger = false;
    } catch (error) {
      if (error.name === "PermissionDenied") this.isStranger = true;
    }
  }

  // A submission that has ended is not in the list of jobs any more.
  async #askFailures() {
    const now = Date.now(), since = new Date(now - DAY).toISOString(), found = new Map();
    if (!this.changed.size && now < this.#failuresAt + AGAIN) return;
    try {
      for (let page = 0, before = null; page < PAGES && (!page || before !== null); page++) {
        const { runs, next } = await client.call("History", { states: FAILED, since, before });
        for (const run of runs) if (run.trigger === "submitted" && !found.has(run.job)) found.set(run.job, run);
        before = next;
      }
      this.failed = [...found.values()];
      this.#failuresAt = now;
    } catch { /* Status says what is wrong */ }
  }

  async #refresh() {
    this.#timer = null;
    this.#busy = true;
    this.#stale = false;
    const begin = performance.now();
    try {
      const known = this.isStranger !== null || this.#ask();
      const [status, list] = await Promise.all([client.call("Status"), this.wantsJobs && client.call("List"), known, this.#askFailures()]);
      this.status = status;
      if (list) this.jobs = list.jobs;
      this.error = null;
    } catch (error) {
      this.#fail(error);
    }
    this.#busy = false;
    const end = performance.now();
    this.#next = end + (this.error ? PAUSE : Math.max(PAUSE, TIMES * (end - begin)));
    this.#listener();
    this.changed.clear();
    this.#plan();
  }
}

export const host = new Host();
