// The host as the page knows it: asked anew when the daemon has said something, a second after the last time at most.

import { Client, follow } from "./varlink.js";

const PAUSE = 1000;
// So much longer than an answer takes is the pause after it: with 10,000 jobs it is some megabytes.
const TIMES = 4;
const MOST = 10000;
const LONGEST = 10000;
const POLL = 5000;

export const client = new Client();

class Host {
  status = null;
  jobs = [];
  error = null;
  changed = new Set();
  isStranger = false;
  isOld = false;
  #listener = () => {};
  #stale = true;
  #busy = false;
  #timer = null;
  #pause = 0;
  #retry = PAUSE;

  // Tell `listener` of each change; `changed` are the runs of which the daemon has told since the last one.
  start(listener) {
    this.#listener = listener;
    document.addEventListener("visibilitychange", () => this.#plan());
    this.#watch();
    this.#plan();
  }

  // What is known may not be true any more.
  touch() {
    this.#stale = true;
    this.#plan();
  }

  #watch() {
    follow("Watch", {}, ({ events }) => {
      this.#retry = PAUSE;
      this.isOld = false;
      for (const { run } of events) if (this.changed.size < MOST) this.changed.add(run);
      this.touch();
    }, error => {
      if (!error.isUnreachable) {
        this.isOld = error.isOld;
        this.touch();
        setTimeout(() => this.#watch(), POLL);
        return;
      }
      this.error = error;
      this.touch();
      this.#listener();
      setTimeout(() => this.#watch(), this.#retry);
      this.#retry = Math.min(2 * this.#retry, LONGEST);
    });
  }

  #plan() {
    if (this.#timer !== null || this.#busy || !this.#stale || document.hidden) return;
    this.#timer = setTimeout(() => this.#refresh(), this.#pause);
  }

  // Whether who looks may see own runs only.
  async #ask() {
    try { await client.call("Notices"); } catch (error) { this.isStranger = error.name === "PermissionDenied"; }
  }

  async #refresh() {
    this.#timer = null;
    this.#busy = true;
    this.#stale = false;
    const begin = performance.now();
    try {
      const [status, list] = await Promise.all([client.call("Status"), client.call("List"), this.status ?? this.#ask()]);
      this.status = status;
      this.jobs = list.jobs;
      this.error = null;
    } catch (error) {
      this.error = error;
    }
    this.#busy = false;
    this.#pause = Math.max(PAUSE, TIMES * (performance.now() - begin));
    this.#listener();
    this.changed.clear();
    this.#plan();
  }
}

export const host = new Host();
