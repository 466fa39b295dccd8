// The chart: rows of jobs on a canvas, as many as fit.  What is less than a pixel shares that pixel: it shows the worst.

const ROW = 24, AXIS = 34, SMALL = 2;
const STEPS = [1, 2, 5, 10, 20, 50, 100, 200, 500, 1e3, 2e3, 5e3, 1e4, 15e3, 3e4, 6e4, 12e4, 3e5, 6e5, 9e5, 18e5, 36e5, 72e5, 108e5, 216e5, 432e5];
const DAY = 864e5;

class Chart {
  constructor(runs, canvas, overview) {
    Object.assign(this, { runs, canvas, overview, utc: false, selected: -1, hovered: -1, top: 0 });
    this.rows = runs.jobs.map((_, job) => job);
    this.shown = new Uint8Array(runs.count).fill(1);
    this.length = Math.max(1000, runs.end - runs.begin);
    this.begin = 0;
    this.end = this.length;
    this.recolour();
  }

  // Take the colours of the style sheet, which has light and dark ones.
  recolour() {
    const style = getComputedStyle(document.documentElement);
    this.colour = {};
    for (const name of ["ground", "band", "text", "quiet", "line", "focus", "good", "bad", "wait", "live", "skip", "on"]) {
      this.colour[name] = style.getPropertyValue(`--${name}`).trim();
    }
  }

  choose({ shown, jobs }) {
    Object.assign(this, { shown, rows: jobs, crowd: null });
  }

  // Make room for the canvas as it is now.
  resize() {
    const scale = devicePixelRatio || 1;
    for (const canvas of [this.canvas, this.overview]) {
      const box = canvas.getBoundingClientRect();
      canvas.width = Math.round(box.width * scale);
      canvas.height = Math.round(box.height * scale);
      canvas.getContext("2d").setTransform(scale, 0, 0, scale, 0, 0);
    }
    this.width = this.canvas.width / scale;
    this.height = this.canvas.height / scale;
    this.left = Math.round(Math.min(220, this.width * 0.3));
    this.crowd = null;
  }

  x(time) { return this.left + (time - this.begin) / (this.end - this.begin) * (this.width - this.left); }
  time(x) { return this.begin + (x - this.left) / (this.width - this.left) * (this.end - this.begin); }
  y(row) { return AXIS + row * ROW - this.top; }

  // Show another time, as long as it is within reach of the runs.
  show(begin, end) {
    const length = Math.min(Math.max(end - begin, 5), this.length * 1.04);
    const margin = length * 0.02;
    this.begin = Math.min(Math.max((begin + end - length) / 2, -margin), Math.max(-margin, this.length + margin - length));
    this.end = this.begin + length;
  }

  // Zoom around a time: without one that of the selected run, if it is in view, else the middle.
  zoom(factor, at = this.middle()) {
    this.show(at - (at - this.begin) * factor, at + (this.end - at) * factor);
  }

  middle() {
    const start = this.selected < 0 ? -Infinity : this.runs.startOf(this.selected);
    return start >= this.begin && start <= this.end ? start : (this.begin + this.end) / 2;
  }

  draw() {
    const pen = this.canvas.getContext("2d"), { colour } = this;
    pen.fillStyle = colour.ground;
    pen.fillRect(0, 0, this.width, this.height);
    pen.font = "13px system-ui, sans-serif";
    pen.textBaseline = "middle";
    const ticks = this.ticks();
    const first = Math.max(0, Math.floor(this.top / ROW)), last = Math.min(this.rows.length, Math.ceil((this.top + this.height) / ROW));
    for (let row = first; row < last; row++) {
      pen.fillStyle = row % 2 ? colour.band : colour.ground;
      pen.fillRect(0, this.y(row), this.width, ROW);
    }
    pen.fillStyle = colour.line;
    for (const tick of ticks) pen.fillRect(Math.round(this.x(tick.time)), AXIS - 6, 1, this.height);
    for (let row = first; row < last; row++) this.drawRow(pen, row);
    this.drawCause(pen);
    pen.fillStyle = colour.ground;
    pen.fillRect(0, 0, this.width, AXIS);
    this.drawAxis(pen, ticks);
    this.drawOverview();
  }

  drawRow(pen, row) {
    const { runs, colour } = this, job = this.rows[row], y = this.y(row), width = Math.ceil(this.width - this.left);
    const worst = new Int32Array(width).fill(-1), busy = new Float32Array(width), waits = new Uint8Array(width);
    const pixel = (this.end - this.begin) / width;
    this.free = this.left; // where the next text of a wait may begin
    pen.save();
    pen.beginPath();
    pen.rect(this.left, y, width, ROW);
    pen.clip();
    runs.between(job, this.begin, this.end, run => {
      if (!this.shown[run]) return;
      const queued = this.x(runs.queuedOf(run)), start = this.x(runs.startOf(run)), end = this.x(runs.endOf(run));
      this.stroke(pen, end, this.x(runs.untilOf(run)), y);
      if (start - queued >= SMALL) this.drawWait(pen, run, queued, start, y);
      else if (start - queued > 0.3) waits[Math.min(width - 1, Math.max(0, Math.floor(queued - this.left)))] = 1;
      if (end - start >= SMALL && runs.hasStarted(run)) {
        this.drawRun(pen, run, start, end, y);
        return;
      }
      const place = Math.floor(start - this.left);
      if (place < 0 || place >= width) return;
      busy[place] += (runs.endOf(run) - runs.startOf(run)) / pixel;
      if (worst[place] < 0 || runs.worstOf(run)[2] > runs.worstOf(worst[place])[2]) worst[place] = run;
    });
    pen.fillStyle = colour.wait;
    for (let place = 0; place < width; place++) if (waits[place]) pen.fillRect(this.left + place, y + ROW - 5, 1, 3);
    for (let place = 0; place < width; place++) {
      if (worst[place] < 0) continue;
      const kind = runs.worstOf(worst[place])[0], least = pixel * 4 < 1000 || kind === "bad" ? 14 : 4;
      const height = kind === "good" ? Math.max(least, 14 * Math.min(1, busy[place])) : kind === "bad" ? 18 : 9;
      pen.fillStyle = colour[kind];
      pen.fillRect(this.left + place, y + 19 - height, kind === "good" ? 1 : 2, height);
    }
    pen.restore();
    pen.fillStyle = colour.text;
    const isSelected = this.selected >= 0 && runs.jobOf(this.selected) === job;
    pen.font = isSelected ? "bold 13px system-ui, sans-serif" : "13px system-ui, sans-serif";
    pen.fillText(fitting(pen, runs.jobs[job], this.left - 12), 6, y + ROW / 2);
    pen.font = "13px system-ui, sans-serif";
  }

  // A run that is wide enough to be seen, each attempt with its own colour and letter.  Between attempts it waits; of an
  // attempt something is seen, however short it was.
  drawRun(pen, run, start, end, y) {
    const { runs } = this, lanes = runs.lanes[runs.jobOf(run)], bounds = [start, ...(runs.pauses.get(run) ?? []).map(time => this.x(time)), end];
    for (let nth = 1; nth + 1 < bounds.length; nth += 2) this.stroke(pen, bounds[nth], bounds[nth + 1], y);
    const parts = [];
    for (let nth = 0; nth < bounds.length; nth += 2) {
      const sign = runs.signOfAttempt(run, nth / 2), high = lanes > 1 ? 20 / lanes : sign[0] === "bad" ? 18 : 14;
      const top = lanes > 1 ? y + 2 + runs.lane[run] * high : y + 19 - high;
      const from = Math.max(bounds[nth], this.left - SMALL), to = Math.min(Math.max(bounds[nth + 1] - 0.5, bounds[nth] + SMALL), this.width + SMALL);
      pen.fillStyle = this.colour[sign[0]];
      if (to > from) pen.fillRect(from, top, to - from, lanes > 1 ? high - 1 : high);
      parts.push([Math.max(bounds[nth], this.left), Math.min(bounds[nth + 1], this.width), sign]);
    }
    if (lanes < 3) this.drawLetters(pen, parts, runs.goesOn(run), lanes > 1 ? y + 2 + (runs.lane[run] + 0.5) * 10 : y + 12);
  }

  // A letter tells the state of an attempt without a colour, if there is room: at its begin, of one that goes on at its
  // end.  If no attempt has room, that of the run is before its last one.
  drawLetters(pen, parts, isAtEnd, y) {
    const wide = parts.filter(([from, to]) => to - from >= 14), last = parts.at(-1);
    pen.font = "bold 11px system-ui, sans-serif";
    pen.fillStyle = this.colour.on;
    for (const part of wide) pen.fillText(part[2][1], isAtEnd && part === last ? part[1] - 12 : part[0] + 3, y);
    if (!wide.length && last[0] - 11 >= parts[0][0] + SMALL && last[0] <= this.width) {
      pen.fillStyle = this.colour[last[2][0]];
      pen.fillText(last[2][1], last[0] - 11, y);
    }
    pen.font = "13px system-ui, sans-serif";
  }

  // Strokes that stand for waiting.
  stroke(pen, begin, end, y) {
    const from = Math.max(begin, this.left), to = Math.min(end, this.width);
    pen.fillStyle = this.colour.wait;
    for (let x = from - (from - begin) % 4; x < to; x += 4) pen.fillRect(x, y + ROW - 8, 2, 6);
  }

  // A wait is a line of strokes below the middle, with what was waited for and who held it, if there is room.
  drawWait(pen, run, queued, start, y) {
    const { runs, colour } = this, from = Math.max(queued, this.left), to = Math.min(start, this.width);
    this.stroke(pen, queued, start, y);
    pen.fillRect(queued, y + ROW - 11, 1, 9);
    const held = runs.texts[runs.held_by[run]], lacked = runs.lists[runs.waited_for[run]].join(", ");
    const begin = Math.max(from, this.free);
    if (to - begin > 50 && (held || lacked)) {
      pen.fillStyle = colour.quiet;
      pen.font = "11px system-ui, sans-serif";
      const text = fitting(pen, [lacked, held].filter(Boolean).join(" ← "), to - begin - 4);
      pen.fillText(text, begin + 2, y + 8);
      this.free = begin + pen.measureText(text).width + 8;
      pen.font = "13px system-ui, sans-serif";
    }
  }

  // The selected run, and an arrow to it from the end of the run that held what it waited for.
  drawCause(pen) {
    const run = this.hovered >= 0 ? this.hovered : this.selected;
    for (const marked of new Set([this.selected, run])) this.outline(pen, marked, this.colour.focus);
    const holder = run >= 0 ? this.runs.holderOf(run) : -1;
    if (holder < 0) return;
    this.outline(pen, holder, this.colour.wait);
    const from = this.rows.indexOf(this.runs.jobOf(holder)), to = this.rows.indexOf(this.runs.jobOf(run));
    if (from < 0 || to < 0) return;
    const x = this.x(this.runs.endOf(holder)), target = this.x(this.runs.startOf(run)), y = this.y(to) + ROW / 2;
    pen.strokeStyle = pen.fillStyle = this.colour.text;
    pen.lineWidth = 1.5;
    pen.beginPath();
    pen.moveTo(x, this.y(from) + ROW / 2);
    pen.lineTo(x, y);
    pen.lineTo(Math.max(target - 5, x), y);
    pen.stroke();
    pen.beginPath();
    pen.moveTo(target, y);
    pen.lineTo(target - 6, y - 4);
    pen.lineTo(target - 6, y + 4);
    pen.fill();
  }

  outline(pen, run, colour) {
    const row = run < 0 ? -1 : this.rows.indexOf(this.runs.jobOf(run));
    if (row < 0) return;
    const from = Math.max(this.x(this.runs.due[run]) - 2, this.left), to = Math.min(this.x(this.runs.endOf(run)) + 2 + SMALL, this.width + 4);
    if (to < this.left || from > this.width) return;
    pen.strokeStyle = colour;
    pen.lineWidth = 2;
    pen.strokeRect(from, this.y(row) + 1, Math.max(4, to - from), ROW - 2);
  }

  drawAxis(pen, ticks) {
    pen.fillStyle = this.colour.quiet;
    let day = "", free = this.left;
    for (const tick of ticks) {
      const x = this.x(tick.time), name = this.said(tick.time, { weekday: "short", day: "2-digit", month: "short" });
      if (x < this.left || x + 3 + pen.measureText(tick.label).width > this.width) continue;
      pen.fillText(tick.label, x + 3, 24);
      if (name !== day && x >= free && x + 3 + pen.measureText(name).width <= this.width) {
        pen.fillText(name, x + 3, 9);
        free = x + pen.measureText(name).width + 12;
        day = name;
      }
    }
  }

  // Round local times, some 90 pixels apart.
  ticks() {
    const least = (this.end - this.begin) / Math.max(1, (this.width - this.left) / 90);
    const step = STEPS.find(length => length >= least), days = Math.ceil(least / DAY), found = [];
    const first = new Date(this.runs.begin + this.begin);
    if (this.utc) first.setUTCHours(0, 0, 0, 0); else first.setHours(0, 0, 0, 0);
    const options = { hour: "2-digit", minute: "2-digit", ...(least < 6e4 ? { second: "2-digit" } : {}), ...(least < 1e3 ? { fractionalSecondDigits: 3 } : {}) };
    const skipped = step ? Math.max(0, Math.floor((this.begin + this.runs.begin - first) / step) - 7.2e6 / step) : 0;
    for (let nth = Math.floor(skipped); found.length < 100; nth++) {
      const moment = new Date(first);
      if (step) moment.setTime(+first + nth * step);
      else if (this.utc) moment.setUTCDate(first.getUTCDate() + nth * days);
      else moment.setDate(first.getDate() + nth * days);
      const time = moment - this.runs.begin;
      if (time > this.end) break;
      if (time >= this.begin) found.push({ time, label: this.said(time, options) });
    }
    return found;
  }

  // A time in words, by the browser's zone, or UTC.
  said(time, options) {
    const key = JSON.stringify([options, this.utc]);
    this.formats ??= new Map();
    if (!this.formats.has(key)) {
      this.formats.set(key, new Intl.DateTimeFormat("en-GB", { hourCycle: "h23", ...options, ...(this.utc ? { timeZone: "UTC" } : {}) }));
    }
    return this.formats.get(key).format(this.runs.begin + time);
  }

  moment(time) {
    return this.said(time, { year: "numeric", month: "short", day: "2-digit", hour: "2-digit", minute: "2-digit", second: "2-digit", timeZoneName: "short" });
  }

  // How many of the chosen runs begin in each pixel of all the time; and below, by a scale of its own, how many end badly.
  drawOverview() {
    const { colour } = this, pen = this.overview.getContext("2d"), width = Math.ceil(this.width);
    const place = time => Math.min(width - 1, Math.max(0, Math.floor(time / this.length * width)));
    this.crowd ??= this.counted(width, place);
    pen.fillStyle = colour.ground;
    pen.fillRect(0, 0, width, 40);
    for (const [counts, bottom, height, kind] of [[this.crowd.all, 26, 24, "good"], [this.crowd.bad, 38, 10, "bad"]]) {
      const most = counts.reduce((most, one) => Math.max(most, one), 1);
      pen.fillStyle = colour[kind];
      for (let x = 0; x < width; x++) {
        const tall = counts[x] && Math.max(2, counts[x] / most * height);
        pen.fillRect(x, bottom - tall, 1, tall);
      }
    }
    pen.strokeStyle = colour.focus;
    pen.lineWidth = 2;
    const from = place(this.begin);
    pen.strokeRect(from + 1, 1, Math.max(4, place(this.end) - from - 2), 38);
  }

  counted(width, place) {
    const { runs } = this, all = new Uint32Array(width), bad = new Uint32Array(width);
    for (const job of this.rows) {
      for (let run = runs.first[job]; run < runs.first[job + 1]; run++) {
        if (!this.shown[run]) continue;
        const at = place(runs.startOf(run));
        all[at]++;
        if (runs.isBad(run)) bad[at]++;
      }
    }
    return { all, bad };
  }

  // The row at a place on the canvas, and of its runs that are there the one that matters most; -1: there is none.
  hit(x, y) {
    const row = Math.floor((y - AXIS + this.top) / ROW);
    if (y < AXIS || x < this.left || row < 0 || row >= this.rows.length) return { row: -1, run: -1, many: 0, bad: 0 };
    const reach = 2 * (this.end - this.begin) / (this.width - this.left), found = { row, run: -1, many: 0, bad: 0 };
    const { runs } = this, job = this.rows[row], lane = Math.floor((y - this.y(row) - 2) / 20 * runs.lanes[job]);
    const weight = run => runs.signOf(run)[2] + 10 * (runs.lane[run] === lane);
    runs.between(job, this.time(x) - reach, this.time(x) + reach, run => {
      if (!this.shown[run]) return;
      found.many++;
      if (runs.isBad(run)) found.bad++;
      if (found.run < 0 || weight(run) > weight(found.run)) found.run = run;
    });
    return found;
  }
}

// As much of a text as fits, with … for the rest.
function fitting(pen, text, width) {
  if (pen.measureText(text).width <= width) return text;
  let low = 0, high = text.length;
  while (low < high) {
    const middle = (low + high + 1) >> 1;
    if (pen.measureText(`${text.slice(0, middle)}…`).width <= width) low = middle; else high = middle - 1;
  }
  return low ? `${text.slice(0, low)}…` : "";
}
