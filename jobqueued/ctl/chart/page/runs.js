"use strict";
// The runs: columns of numbers, by job and due time, as chart_page.py packs them.

const SIGNS = { // of each state: its kind, the letter in a bar, and how much it matters where many share a pixel
  failed: ["bad", "F", 9], timed_out: ["bad", "T", 9], killed: ["bad", "K", 8], oom_killed: ["bad", "O", 9], lost: ["bad", "L", 9],
  retrying: ["wait", "r", 7], stopping: ["live", "▶", 6], running: ["live", "▶", 6], starting: ["live", "▶", 6],
  skipped: ["skip", "s", 5], waiting: ["wait", "w", 4], due: ["wait", "w", 4], succeeded: ["good", "✓", 3],
};

const LANES = 4; // so many have a place of their own

async function unpacked(text) {
  const bytes = Uint8Array.fromBase64 ? Uint8Array.fromBase64(text) : Uint8Array.from(atob(text), letter => letter.charCodeAt(0));
  const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("deflate"));
  return new Uint8Array(await new Response(stream).arrayBuffer());
}

class Runs {
  constructor(bytes) {
    const size = new DataView(bytes.buffer).getUint32(0, true);
    const head = JSON.parse(new TextDecoder().decode(bytes.subarray(4, 4 + size)));
    Object.assign(this, { begin: head.begin, end: head.end, now: head.now, texts: head.texts, lists: head.lists });
    this.states = head.states;
    this.pauses = new Map(head.pauses);
    this.tries = new Map(head.tries); // of a run the states of its attempts but the last
    this.signs = head.states.map(state => SIGNS[state]);
    this.jobs = head.jobs.map(job => job[0]);
    this.first = new Uint32Array(head.jobs.length + 1); // of each job its first run; the last is where all end
    head.jobs.forEach((job, nth) => { this.first[nth + 1] = this.first[nth] + job[1]; });
    this.count = this.first[head.jobs.length];
    let offset = 4 + size;
    for (const [name, width] of head.columns) {
      this[name] = column(bytes, offset, width, this.count);
      offset += width * this.count;
    }
    this.number = this.summed(this.number);
    this.due = this.summed(this.due);
    this.longest = this.jobs.map((_, job) => { // of each job the longest time from a due time on: what may reach into a view
      let most = 0;
      for (let run = this.first[job]; run < this.first[job + 1]; run++) most = Math.max(most, this.untilOf(run) - this.due[run]);
      return most;
    });
    this.layOut();
  }

  // Runs of a job that are live at the same time are drawn in lanes, one below the other.
  layOut() {
    this.lane = new Uint8Array(this.count);
    this.lanes = this.jobs.map((_, job) => {
      const ends = [];
      for (let run = this.first[job]; run < this.first[job + 1]; run++) {
        if (!this.hasStarted(run)) continue;
        const start = this.startOf(run), free = ends.findIndex(end => end <= start), lane = free < 0 ? Math.min(ends.length, LANES - 1) : free;
        ends[lane] = this.endOf(run);
        this.lane[run] = lane;
      }
      return Math.max(1, ends.length);
    });
  }

  // The sums, job by job, of differences of which the lowest bit is the sign.  Times are from `begin` on.
  summed(differences) {
    const found = new Float64Array(this.count);
    for (let job = 0; job < this.jobs.length; job++) {
      let sum = 0;
      for (let run = this.first[job]; run < this.first[job + 1]; run++) {
        const it = differences[run];
        found[run] = sum += it % 2 ? -(it + 1) / 2 : it / 2;
      }
    }
    return found;
  }

  hasStarted(run) { return this.started[run] > 0; }
  queuedOf(run) { return this.due[run] + this.queued[run]; }
  startOf(run) { return this.due[run] + Math.max(0, this.started[run] - 1); }
  goesOn(run) { return this.ended[run] === 0; }
  endOf(run) { return this.goesOn(run) ? Math.max(this.startOf(run), this.now - this.begin) : this.startOf(run) + this.ended[run] - 1; }
  untilOf(run) { return this.signOf(run)[0] === "wait" ? Math.max(this.endOf(run), this.now - this.begin) : this.endOf(run); } // with its wait for a retry
  stateOf(run) { return this.states[this.state[run]]; }
  signOf(run) { return this.signs[this.state[run]]; }
  // The sign of an attempt by its number, and of all attempts of a run the one that matters most.
  signOfAttempt(run, nth) { return this.signs[this.tries.get(run)?.[nth]] ?? this.signOf(run); }
  worstOf(run) {
    const own = this.signOf(run), tries = this.tries.get(run) ?? [];
    return tries.map(state => this.signs[state]).reduce((worst, it) => it[2] > worst[2] ? it : worst, own);
  }
  isBad(run) { return this.signs[this.state[run]][0] === "bad"; }

  jobOf(run) {
    let low = 0, high = this.jobs.length;
    while (low + 1 < high) {
      const middle = (low + high) >> 1;
      if (this.first[middle] <= run) low = middle; else high = middle;
    }
    return low;
  }

  // The run that held what this one waited for; -1: there is none, or it is not among these.
  holderOf(run) {
    const name = this.texts[this.held_by[run]], end = name.lastIndexOf("@"), job = this.jobs.indexOf(name.slice(0, end));
    const place = job < 0 ? -1 : this.number.subarray(this.first[job], this.first[job + 1]).indexOf(Number(name.slice(end + 1)));
    return place < 0 ? -1 : this.first[job] + place;
  }

  nameOf(run) { return `${this.jobs[this.jobOf(run)]}@${this.number[run]}`; }

  // The first run of a job that is due at this time or later.
  from(job, time) {
    let low = this.first[job], high = this.first[job + 1];
    while (low < high) {
      const middle = (low + high) >> 1;
      if (this.due[middle] < time) low = middle + 1; else high = middle;
    }
    return low;
  }

  // Call with each run of a job that may be seen between two times.
  between(job, begin, end, call) {
    const last = this.first[job + 1];
    for (let run = this.from(job, begin - this.longest[job]); run < last && this.due[run] <= end; run++) {
      if (this.untilOf(run) >= begin) call(run);
    }
  }

  // Of each run 1 if it is chosen; and the jobs that have such a run.
  chosen(part, tag, states) {
    const wanted = this.states.map((_, state) => states.has(state));
    const tagged = this.lists.map(list => tag === "" || list.includes(tag));
    const shown = new Uint8Array(this.count), jobs = [];
    for (let job = 0; job < this.jobs.length; job++) {
      if (!this.jobs[job].toLowerCase().includes(part.toLowerCase())) continue;
      let any = 0;
      for (let run = this.first[job]; run < this.first[job + 1]; run++) {
        if (wanted[this.state[run]] && tagged[this.tags[run]]) any = shown[run] = 1;
      }
      if (any) jobs.push(job);
    }
    return { shown, jobs };
  }

  tagsKnown() {
    const known = new Set();
    for (const list of new Set(this.tags)) this.lists[list].forEach(tag => known.add(tag));
    return [...known].sort();
  }

  // What is told of a run, as names and texts.
  facts(run, moment) {
    const has = this.hasStarted(run), wait = this.startOf(run) - this.queuedOf(run);
    const waited = this.lists[this.waited_for[run]].join(", ");
    const facts = [
      ["run", this.nameOf(run)], ["state", this.stateOf(run)], ["reason", this.texts[this.reason[run]]],
      ["due", moment(this.due[run])], ["started", has ? moment(this.startOf(run)) : "never"],
      ["ended", this.goesOn(run) ? "still live" : moment(this.endOf(run))],
      ["waited", has && wait >= 1000 || waited ? span(wait) : ""], ["waited for", waited],
      ["held by", this.texts[this.held_by[run]]],
      ["took", has ? span(this.endOf(run) - this.startOf(run)) : ""],
      ["attempts", this.attempts[run] > 1 ? String(this.attempts[run]) : ""],
      ["cpu time", this.cpu[run] ? span(this.cpu[run] - 1) : ""],
      ["memory", this.memory[run] ? `${((this.memory[run] - 1) / 1024).toFixed(1)} MiB` : ""],
      ["trigger", this.texts[this.trigger[run]]], ["tags", this.lists[this.tags[run]].join(", ")],
      ["command", this.texts[this.command[run]]],
    ];
    return facts.filter(fact => fact[1]);
  }
}

// A column, of which the lowest byte of each number comes first, then the next of each.
function column(bytes, offset, width, count) {
  const Numbers = width === 1 ? Uint8Array : width === 2 ? Uint16Array : width <= 4 ? Uint32Array : Float64Array;
  if (width === 1) return bytes.subarray(offset, offset + count);
  const found = new Numbers(count);
  for (let nth = 0, factor = 1; nth < width; nth++, factor *= 256) {
    const plane = bytes.subarray(offset + nth * count, offset + (nth + 1) * count);
    for (let place = 0; place < count; place++) found[place] += plane[place] * factor;
  }
  return found;
}

// A duration (ms) for people.
function span(time) {
  if (time < 1000) return `${Math.round(time)} ms`;
  if (time < 60000) return `${(time / 1000).toFixed(1)} s`;
  const parts = [["d", 86400], ["h", 3600], ["min", 60], ["s", 1]], found = [];
  let rest = Math.floor(time / 1000);
  for (const [unit, length] of parts) {
    const count = Math.floor(rest / length);
    rest -= count * length;
    if (count) found.push(`${count} ${unit}`);
  }
  return found.slice(0, 2).join(" ");
}
