// The controls: filters, keys, the mouse, and what is told of a run.  Texts of others are only ever set as text.

const LISTED = 200;
const at = id => document.getElementById(id);

function element(name, text = "", className = "") {
  const made = document.createElement(name);
  made.textContent = text;
  if (className) made.className = className;
  return made;
}

class Controls {
  constructor(runs) {
    this.runs = runs;
    this.chart = new Chart(runs, at("chart"), at("overview"));
    this.tags();
    this.states();
    for (const id of ["job", "tag", "states", "utc"]) at(id).addEventListener("input", () => this.filter());
    at("filters").addEventListener("submit", event => event.preventDefault());
    document.querySelector(".bar").addEventListener("click", event => this.act(event.target.dataset.do));
    at("chart").addEventListener("keydown", event => this.press(event));
    at("scroll").addEventListener("scroll", () => this.redraw());
    at("listing").addEventListener("toggle", () => this.list());
    addEventListener("resize", () => this.resize());
    addEventListener("keydown", event => {
      if (event.key === "/" && !["INPUT", "SELECT"].includes(event.target.tagName)) { event.preventDefault(); at("job").focus(); }
    });
    matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => { this.chart.recolour(); this.redraw(); });
    this.mouse();
    this.act("all");
    this.filter();
  }

  tags() {
    for (const tag of this.runs.tagsKnown()) {
      const option = element("option", tag);
      option.value = tag;
      at("tag").append(option);
    }
  }

  // A box for each state that a run has, which is the legend too.
  states() {
    const counts = new Map();
    for (const state of this.runs.state) counts.set(state, (counts.get(state) ?? 0) + 1);
    for (const [state, count] of [...counts].sort((one, other) => one[0] - other[0])) {
      const label = element("label"), box = element("input"), [kind, letter] = this.runs.signs[state];
      Object.assign(box, { type: "checkbox", checked: true, value: String(state) });
      const mark = element("span", letter, `mark ${kind}`);
      mark.setAttribute("aria-hidden", "true");
      label.append(box, mark, `${this.runs.states[state].replaceAll("_", " ")} (${count.toLocaleString("en")})`);
      at("states").append(label);
    }
  }

  filter() {
    const states = new Set([...document.querySelectorAll("#states input:checked")].map(box => Number(box.value)));
    this.chart.utc = at("utc").checked;
    this.chart.choose(this.runs.chosen(at("job").value, at("tag").value, states));
    if (this.chart.selected >= 0 && !this.isShown(this.chart.selected)) this.select(-1);
    const { rows, shown } = this.chart;
    let count = 0;
    for (const job of rows) for (let run = this.runs.first[job]; run < this.runs.first[job + 1]; run++) count += shown[run];
    at("summary").textContent = `${count.toLocaleString("en")} of ${this.runs.count.toLocaleString("en")} runs, ` +
      `${rows.length.toLocaleString("en")} of ${this.runs.jobs.length.toLocaleString("en")} jobs`;
    this.resize();
    if (this.chart.selected >= 0) this.tell(this.chart.selected);
  }

  isShown(run) { return this.chart.shown[run] && this.chart.rows.includes(this.runs.jobOf(run)); }

  // Give the chart the height of its rows, or that of a part of the window, with a bar at the side for the rest.
  resize() {
    const needed = AXIS + this.chart.rows.length * ROW, box = at("scroll");
    box.style.height = `${Math.min(needed + 2, Math.max(200, innerHeight * 0.6))}px`;
    at("spacer").style.height = `${Math.max(0, needed - box.clientHeight)}px`;
    this.chart.resize();
    this.redraw();
  }

  // Draw once before the next frame, however much has changed.
  redraw() {
    if (this.drawing) return;
    this.drawing = requestAnimationFrame(() => {
      this.drawing = 0;
      const { chart } = this;
      chart.top = at("scroll").scrollTop;
      chart.draw();
      at("view").textContent = `${chart.moment(chart.begin)} to ${chart.moment(chart.end)}`;
      clearTimeout(this.listing);
      this.listing = setTimeout(() => this.list(), 200);
      if (!performance.getEntriesByName("chart drawn").length) performance.mark("chart drawn");
    });
  }

  act(what) {
    const { chart } = this, step = (chart.end - chart.begin) / 4;
    if (what === "in") chart.zoom(0.5);
    else if (what === "out") chart.zoom(2);
    else if (what === "all") chart.show(-chart.length * 0.02, chart.length * 1.02);
    else if (what === "earlier") chart.show(chart.begin - step, chart.end - step);
    else if (what === "later") chart.show(chart.begin + step, chart.end + step);
    else if (what === "before" || what === "after") this.failure(what === "after" ? 1 : -1);
    else return;
    this.redraw();
  }

  press(event) {
    const { key, shiftKey } = event, { selected } = this.chart;
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    const steps = { ArrowLeft: -1, ArrowRight: 1 }, rows = { ArrowUp: -1, ArrowDown: 1, PageUp: -10, PageDown: 10 };
    const acts = { "+": "in", "=": "in", "-": "out", "0": "all", f: "after", F: "before" };
    if (key in steps && shiftKey) this.act(steps[key] < 0 ? "earlier" : "later");
    else if (key in steps) this.step(steps[key]);
    else if (key in rows) this.row(rows[key]);
    else if (key === "Home" || key === "End") this.end(key === "End");
    else if (key in acts) this.act(acts[key]);
    else if (key === "h") this.holder();
    else if (key === "Enter" && selected >= 0) this.closeUp(selected);
    else if (key === "Escape") this.select(-1);
    else return;
    event.preventDefault();
  }

  // The run that held what the selected one waited for.
  holder() {
    const holder = this.chart.selected < 0 ? -1 : this.runs.holderOf(this.chart.selected);
    if (holder >= 0) this.go(holder);
  }

  // The run of the same job that comes next, or before.
  step(by) {
    const { selected } = this.chart;
    if (selected < 0) { this.row(0); return; }
    const job = this.runs.jobOf(selected);
    for (let run = selected + by; run >= this.runs.first[job] && run < this.runs.first[job + 1]; run += by) {
      if (this.chart.shown[run]) { this.go(run); return; }
    }
  }

  // The run of another job that is nearest in time; without a selected run one of the first job in view.
  row(by) {
    const { selected, rows } = this.chart;
    if (!rows.length) return;
    const before = selected < 0 ? Math.ceil(this.chart.top / ROW) : rows.indexOf(this.runs.jobOf(selected)) + by;
    const job = rows[Math.min(rows.length - 1, Math.max(0, before))];
    const time = selected < 0 ? this.chart.begin : this.runs.due[selected];
    let best = -1;
    const near = this.runs.from(job, time), first = this.runs.first[job], last = this.runs.first[job + 1];
    for (let run = near; run < last && best < 0; run++) if (this.chart.shown[run]) best = run;
    for (let run = near - 1; run >= first; run--) {
      if (!this.chart.shown[run]) continue;
      if (best < 0 || time - this.runs.due[run] < this.runs.due[best] - time) best = run;
      break;
    }
    if (best >= 0) this.go(best);
  }

  end(isLast) {
    const { rows, selected } = this.chart, job = selected < 0 ? rows[0] : this.runs.jobOf(selected);
    if (job === undefined) return;
    const found = this.chart.shown.subarray(this.runs.first[job], this.runs.first[job + 1]);
    this.go(this.runs.first[job] + (isLast ? found.lastIndexOf(1) : found.indexOf(1)));
  }

  // The next run of all that ended badly, by time.
  failure(by) {
    const { runs, chart } = this, { selected } = chart, from = selected < 0 ? chart.begin : runs.startOf(selected);
    let best = -1;
    for (const job of chart.rows) {
      for (let run = runs.first[job]; run < runs.first[job + 1]; run++) {
        if (!chart.shown[run] || !runs.isBad(run) || run === selected) continue;
        const ahead = (runs.startOf(run) - from) * by || (run - selected) * by * 1e-9;
        if (ahead > 0 && (best < 0 || ahead < (runs.startOf(best) - from) * by)) best = run;
      }
    }
    if (best >= 0) this.go(best);
  }

  // Select a run and bring it into view.
  go(run) {
    const { chart, runs } = this, row = chart.rows.indexOf(runs.jobOf(run)), box = at("scroll");
    if (row < 0) { this.select(run); return; }
    const start = runs.due[run], end = runs.endOf(run), length = chart.end - chart.begin;
    if (start > chart.end || end < chart.begin) chart.show(start - length / 2, start + length / 2);
    const y = row * ROW;
    if (y < box.scrollTop) box.scrollTop = y;
    else if (y + ROW > box.scrollTop + box.clientHeight - AXIS) box.scrollTop = y + ROW - box.clientHeight + AXIS;
    this.select(run);
  }

  closeUp(run) {
    const { runs, chart } = this, length = Math.max(1000, runs.endOf(run) - runs.due[run]);
    chart.show(runs.due[run] - length, runs.endOf(run) + length);
    this.redraw();
  }

  select(run) {
    this.chart.selected = run;
    this.tell(run);
    this.redraw();
  }

  tell(run) {
    at("record").replaceChildren(run < 0 ? element("p", "None.") : this.facts(run));
  }

  facts(run) {
    const list = element("dl");
    for (const [name, text] of this.runs.facts(run, time => this.chart.moment(time))) list.append(element("dt", name), element("dd", text));
    return list;
  }

  mouse() {
    const canvas = at("chart");
    canvas.addEventListener("pointerdown", event => {
      this.drag = { x: event.clientX, begin: this.chart.begin, end: this.chart.end, moved: false };
      canvas.setPointerCapture(event.pointerId);
    });
    canvas.addEventListener("pointermove", event => this.move(event));
    canvas.addEventListener("pointerup", event => {
      if (this.drag && !this.drag.moved) this.select(this.under(event).run);
      this.drag = null;
    });
    canvas.addEventListener("pointerleave", () => this.hover({ run: -1 }));
    canvas.addEventListener("dblclick", event => { this.chart.zoom(0.5, this.chart.time(event.offsetX)); this.redraw(); });
    canvas.addEventListener("wheel", event => {
      const { chart } = this, length = chart.end - chart.begin;
      if (event.ctrlKey) chart.zoom(Math.exp(event.deltaY * 0.01), chart.time(event.offsetX));
      else if (event.shiftKey || event.deltaX) chart.show(chart.begin + length * (event.deltaX || event.deltaY) / 1000, chart.end + length * (event.deltaX || event.deltaY) / 1000);
      else return;
      event.preventDefault();
      this.redraw();
    }, { passive: false });
    at("overview").addEventListener("pointerdown", event => {
      const { chart } = this, half = (chart.end - chart.begin) / 2, time = event.offsetX / chart.width * chart.length;
      chart.show(time - half, time + half);
      this.redraw();
    });
  }

  under(event) {
    const box = at("chart").getBoundingClientRect();
    return this.chart.hit(event.clientX - box.left, event.clientY - box.top);
  }

  move(event) {
    const { drag, chart } = this;
    if (drag && (drag.moved || Math.abs(event.clientX - drag.x) > 3)) {
      drag.moved = true;
      const by = (drag.x - event.clientX) * (drag.end - drag.begin) / (chart.width - chart.left);
      chart.show(drag.begin + by, drag.end + by);
      this.hover({ run: -1 });
      this.redraw();
    } else {
      this.hover(this.under(event), event);
    }
  }

  // Show what is under the mouse beside it.
  hover(found, event) {
    const tip = at("tip");
    if (found.run !== this.chart.hovered) {
      this.chart.hovered = found.run;
      this.redraw();
    }
    tip.hidden = found.run < 0;
    if (tip.hidden) return;
    tip.replaceChildren();
    if (found.many > 1) tip.append(element("p", `${found.many.toLocaleString("en")} runs here, ${found.bad.toLocaleString("en")} of them ended badly. One of them:`));
    tip.append(this.facts(found.run));
    const box = tip.getBoundingClientRect();
    tip.style.left = `${Math.max(4, Math.min(event.clientX + 14, innerWidth - box.width - 8))}px`;
    tip.style.top = `${event.clientY + 18 + box.height < innerHeight ? event.clientY + 18 : Math.max(4, event.clientY - box.height - 10)}px`;
  }

  // The runs in view, for those who read rather than look.
  list() {
    if (!at("listing").open) return;
    const { runs, chart } = this, rows = [];
    let count = 0;
    for (const job of chart.rows) {
      runs.between(job, chart.begin, chart.end, run => {
        if (!chart.shown[run] || ++count > LISTED) return;
        const facts = Object.fromEntries(runs.facts(run, time => chart.moment(time))), row = element("tr");
        const lacked = [facts["waited for"], facts["held by"] && `held by ${facts["held by"]}`].filter(Boolean).join(", ");
        const name = element("th", facts.run);
        name.scope = "row";
        row.append(name, ...[facts.state, facts.due, facts.waited, facts.took, lacked, facts.reason].map(text => element("td", text ?? "")));
        rows.push(row);
      });
    }
    at("listed").textContent = count > LISTED ? `The first ${LISTED} of ${count.toLocaleString("en")} runs in view: zoom in or filter to see others.` : `${count} runs in view.`;
    at("rows").replaceChildren(...rows);
  }
}

addEventListener("DOMContentLoaded", async () => {
  try {
    const runs = new Runs(await unpacked(at("data").textContent.trim()));
    at("data").remove();
    if (runs.count) new Controls(runs);
    else at("summary").textContent = "There are no such runs.";
  } catch (error) {
    at("summary").textContent = `The runs can't be read: ${error.message}`;
    throw error;
  }
});
