"use strict";
// What comes from the warehouse enters the page as text, never as HTML.
const data = JSON.parse(document.getElementById("data").textContent);
const colour = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();
const whole = new Intl.NumberFormat("en-US", { maximumFractionDigits: 0 });
const SVG = "http://www.w3.org/2000/svg";
const SETTINGS = {
  displaylogo: false,
  responsive: true,
  // Named one by one: by default there is a button that sends the chart to plotly's servers.
  modeBarButtons: [["toImage"], ["zoom2d", "pan2d"], ["zoomIn2d", "zoomOut2d", "resetScale2d"]],
  plotlyServerURL: "",
};

// plotly reads a few tags in its texts; names are shown as they are.
function plain(text) {
  return String(text).replace(/&/g, "&amp;").replace(/</g, "&lt;").replace(/>/g, "&gt;");
}

function make(tag, properties = {}, ...children) {
  const element = Object.assign(document.createElement(tag), properties);
  element.append(...children);
  return element;
}

function draw(tag, attributes, ...children) {
  const element = document.createElementNS(SVG, tag);
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
  element.append(...children);
  return element;
}

// Numbers

function number(value) {
  const size = Math.abs(value);
  if (size !== 0 && (size >= 1e15 || size < 1e-4)) return value.toExponential(2);
  return value.toLocaleString("en-US", { maximumSignificantDigits: 5 });
}

function share(value) {
  const percent = 100 * value;
  if (percent === 0 || percent === 100) return `${percent} %`;
  if (percent > 99.99 && percent < 100) return "> 99.99 %";
  return percent < 0.01 ? "< 0.01 %" : `${percent.toFixed(percent < 1 || percent > 99 ? 2 : 1)} %`;
}

function bytes(value) {
  for (const unit of ["B", "kB", "MB", "GB"]) {
    if (value < 1000) return unit === "B" ? `${value} B` : `${value.toFixed(1)} ${unit}`;
    value /= 1000;
  }
  return `${value.toFixed(1)} TB`;
}

function hours(value) {
  const fine = value.toLocaleString("en-US", { maximumFractionDigits: value < 10 ? 2 : 1 });
  return value > 0 && fine === "0" ? "< 0.01" : fine;
}

const FORMATS = {
  count: (v) => whole.format(v), signed: number, number, index: (v) => v.toFixed(3), share, bytes, hours,
};
const PICTURES = { spark: distribution, bars: monthly };

// Tables

function distribution([all, recent], label) {
  const width = 120, height = 26, step = width / all.length;
  const y = (v) => height - (v / 100) * (height - 2) - 1;
  const area = all.map((v, i) => `V${y(v).toFixed(1)}H${((i + 1) * step).toFixed(1)}`).join("");
  const line = recent
    .map((v, i) => `${i ? "L" : "M"}${((i + 0.5) * step).toFixed(1)} ${y(v).toFixed(1)}`)
    .join("");
  const picture = draw("svg", { viewBox: `0 0 ${width} ${height}`, role: "img", "aria-label": label });
  picture.append(draw("path", { class: "area", d: `M0 ${height}${area}V${height}Z` }));
  if (recent.some((v) => v > 0)) picture.append(draw("path", { class: "stroke", d: line }));
  return picture;
}

function monthly(values, label) {
  const width = 120, height = 26, step = width / values.length;
  const largest = Math.max(...values.map((v) => Math.abs(v || 0))) || 1;
  const picture = draw("svg", { viewBox: `0 0 ${width} ${height}`, role: "img", "aria-label": label });
  values.forEach((value, i) => {
    const size = (Math.abs(value || 0) / largest) * (height / 2 - 1);
    picture.append(draw("rect", {
      class: value > 0 ? "up" : "down",
      x: i * step + step * 0.1,
      width: Math.min(step * 0.8, 12),
      y: value > 0 ? height / 2 - size : height / 2,
      height: Math.max(size, 0.3),
    }));
  });
  return picture;
}

function compare(a, b) {
  return typeof a === "number" && typeof b === "number" ? a - b : String(a).localeCompare(String(b));
}

function isRight(kind) {
  return kind in FORMATS;
}

class Table {
  constructor(place, source) {
    this.source = source;
    this.shown = Number(place.dataset.rows) || 12;
    this.first = this.shown;
    this.order = source.sort ? { column: source.sort[0], up: source.sort[1] === "up" } : null;
    this.title = place.previousElementSibling?.matches("h3")
      ? place.previousElementSibling.textContent
      : place.closest("section").querySelector("h2").textContent;
    this.texts = source.rows.map((row) =>
      row.filter((_, i) => !(source.columns[i].kind in PICTURES)).join(" ").toLowerCase());
    this.visible = source.columns.map((c, i) => i).filter((i) => source.columns[i].kind !== "hidden");
    this.meaning = source.columns.findIndex((c) => c.kind === "hidden");
    this.body = make("tbody");
    this.count = make("span", { className: "note" });
    this.count.setAttribute("aria-live", "polite");
    this.more = make("button", { type: "button", onclick: () => this.showAll() });
    place.append(this.controls(), this.frame(), make("div", { className: "controls" }, this.count, this.more));
    if (source.note) place.append(make("p", { className: "note", textContent: source.note }));
    this.refresh();
  }

  controls() {
    const line = make("div", { className: "controls" });
    this.choices = (this.source.choose || []).map((column) => this.choice(line, column));
    this.filter = make("input", { type: "search", placeholder: "any part of a row" });
    this.filter.addEventListener("input", () => this.refresh());
    if (this.source.rows.length > 12) line.append(make("label", {}, "Filter ", this.filter));
    return line;
  }

  choice(line, column) {
    const values = [...new Set(this.source.rows.map((row) => row[column]))].sort(compare);
    const list = make("select", {}, make("option", { value: "", textContent: "all" }));
    values.forEach((value, i) => list.append(make("option", { value: String(i), textContent: value })));
    list.addEventListener("change", () => this.refresh());
    if (values.length > 1) line.append(make("label", {}, `${this.source.columns[column].title} `, list));
    return { column, list, values };
  }

  frame() {
    const row = make("tr");
    this.heads = this.visible.map((i) => {
      const { title, hint, kind } = this.source.columns[i];
      const head = make("th", { scope: "col", title: hint, className: isRight(kind) ? "n" : "" });
      const canSort = kind !== "spark" && kind !== "bars";
      head.append(canSort ? make("button", { type: "button", textContent: title, onclick: () => this.sort(i) }) : title);
      row.append(head);
      return head;
    });
    const table = make("table", {}, make("thead", {}, row), this.body);
    table.setAttribute("aria-label", this.title);
    const frame = make("div", { className: "wide", tabIndex: 0 }, table);
    frame.setAttribute("role", "region");
    frame.setAttribute("aria-label", `${this.title}, table`);
    return frame;
  }

  sort(column) {
    const isAgain = this.order && this.order.column === column;
    const startsUp = !isRight(this.source.columns[column].kind);
    this.order = { column, up: isAgain ? !this.order.up : startsUp };
    this.refresh();
  }

  showAll() {
    this.shown = this.shown === Infinity ? this.first : Infinity;
    this.refresh();
  }

  rows() {
    const wanted = this.filter.value.trim().toLowerCase();
    const chosen = this.choices.filter(({ list }) => list.value !== "");
    const rows = this.source.rows.filter((row, i) =>
      (!wanted || this.texts[i].includes(wanted)) &&
      chosen.every(({ column, list, values }) => row[column] === values[Number(list.value)]));
    if (this.order) {
      const { column, up } = this.order;
      const size = this.source.columns[column].kind === "signed" ? Math.abs : (value) => value;
      rows.sort((a, b) => {
        if (a[column] === null || b[column] === null) return (a[column] === null) - (b[column] === null);
        const [x, y] = [size(a[column]), size(b[column])];
        return up ? compare(x, y) : compare(y, x);
      });
    }
    return rows;
  }

  refresh() {
    this.heads.forEach((head, i) => {
      const isSorted = this.order && this.order.column === this.visible[i];
      head.setAttribute("aria-sort", isSorted ? (this.order.up ? "ascending" : "descending") : "none");
      const button = head.querySelector("button");
      if (button) {
        const mark = isSorted ? (this.order.up ? " ▲" : " ▼") : "";
        button.textContent = this.source.columns[this.visible[i]].title + mark;
      }
    });
    const rows = this.rows();
    this.body.replaceChildren(...rows.slice(0, this.shown).map((row) => this.line(row)));
    const shown = Math.min(rows.length, this.shown);
    const all = this.source.rows.length;
    this.count.textContent = `${whole.format(shown)} of ${whole.format(rows.length)} rows` +
      (rows.length < all ? ` that fit, ${whole.format(all)} in all` : "");
    this.more.hidden = rows.length <= this.first;
    this.more.textContent = this.shown === Infinity ? `Show ${this.first}` : `Show all ${whole.format(rows.length)}`;
  }

  line(row) {
    const line = make("tr");
    for (const i of this.visible) line.append(this.cell(this.source.columns[i], row[i], row, line));
    return line;
  }

  cell({ title, kind }, value, row, line) {
    const cell = make("td");
    if (isRight(kind)) cell.className = "n";
    if (value === null || value === undefined) return cell;
    if (kind in PICTURES) {
      cell.append(PICTURES[kind](value, `${title} of ${row[1]}`));
    } else if (kind === "describe" && row[this.meaning]) {
      cell.append(this.explained(value, row[this.meaning], line));
    } else {
      cell.textContent = kind in FORMATS ? FORMATS[kind](value) : value;
      const isLong = String(value).length > 32;
      if (kind === "code" || kind === "describe") cell.className = isLong ? "code long" : "code";
      if (kind === "time") cell.className = "time";
      if (kind === "text" && isLong) cell.className = "long";
    }
    return cell;
  }

  explained(name, meaning, line) {
    const button = make("button", { type: "button", className: "factor", textContent: name, title: meaning });
    button.setAttribute("aria-expanded", "false");
    button.addEventListener("click", () => {
      const isOpen = button.getAttribute("aria-expanded") === "true";
      button.setAttribute("aria-expanded", String(!isOpen));
      if (isOpen) line.nextElementSibling.remove();
      else line.after(make("tr", { className: "meaning" },
        make("td", { colSpan: this.visible.length, textContent: meaning })));
    });
    return button;
  }
}

function fillTables() {
  for (const place of document.querySelectorAll("[data-table]")) {
    const [section, name] = place.dataset.table.split(".");
    new Table(place, data[section][name]);
  }
}

// Coverage

const CLASSES = [
  ["nothing", (s) => s === 0],
  ["below 50 %", (s) => s < 0.5],
  ["50 to 90 %", (s) => s < 0.9],
  ["90 to 99 %", (s) => s < 0.99],
  ["99 % and more, not all", (s) => s < 1],
  ["all", () => true],
];

function layoutOf(more) {
  return {
    paper_bgcolor: "rgba(0,0,0,0)",
    plot_bgcolor: "rgba(0,0,0,0)",
    modebar: { bgcolor: colour("--page"), color: colour("--soft"), activecolor: colour("--accent") },
    font: { color: colour("--text"), size: 12, family: getComputedStyle(document.body).fontFamily },
    hoverlabel: { align: "left", bgcolor: colour("--panel"), bordercolor: colour("--line"), font: { color: colour("--text") } },
    ...more,
  };
}

class Coverage {
  constructor() {
    this.source = data.coverage;
    this.place = document.getElementById("coverage-plot");
    this.says = document.getElementById("coverage-cell");
    this.list = document.getElementById("coverage-dataset");
    for (const name of Object.keys(this.source.datasets)) {
      this.list.append(make("option", { value: name, textContent: `${name}: ${this.overall(name)}` }));
    }
    this.list.addEventListener("change", () => this.draw());
    this.place.addEventListener("keydown", (event) => this.move(event));
    const legend = document.getElementById("coverage-legend");
    CLASSES.forEach(([text], i) => legend.append(this.swatch(`var(--share-${i})`, text)));
    legend.append(this.swatch("var(--none)", "not listed, or nothing on record"));
    this.at = [0, 0];
    this.draw();
  }

  swatch(background, text) {
    const box = make("span");
    box.style.background = background;
    return make("li", {}, box, text);
  }

  // Slots in which the symbol was listed: the first two reasons say that it was not.
  listed(dataset, cell) {
    if (dataset.expected[cell] === null) return 0;
    const [before, after] = dataset.missing[cell] || [0, 0];
    return dataset.expected[cell] - before - after;
  }

  overall(name) {
    const dataset = this.source.datasets[name];
    let present = 0, listed = 0;
    dataset.expected.forEach((_, cell) => {
      const slots = this.listed(dataset, cell);
      if (slots > 0) { listed += slots; present += dataset.present[cell]; }
    });
    return listed ? share(present / listed) : "nothing listed";
  }

  text(row, column) {
    const dataset = this.source.datasets[this.list.value];
    const cell = row * this.source.months.length + column;
    const lines = [`${this.source.symbols[row]}, ${this.source.months[column]}`];
    if (dataset.expected[cell] === null) return [...lines, "nothing on record"];
    const listed = this.listed(dataset, cell);
    lines.push(listed > 0 ? `${share(dataset.present[cell] / listed)} present` : "not listed");
    lines.push(`${whole.format(dataset.present[cell])} of ${whole.format(dataset.expected[cell])} slots (${dataset.slot})`);
    (dataset.missing[cell] || []).forEach((count, i) => {
      if (count) lines.push(`${whole.format(count)} missing: ${this.source.reasons[i].replaceAll("_", " ")}`);
    });
    return lines;
  }

  draw() {
    const { symbols, months } = this.source;
    const dataset = this.source.datasets[this.list.value];
    const z = [], texts = [];
    symbols.forEach((_, row) => {
      z.push(months.map((_, column) => {
        const cell = row * months.length + column;
        const listed = this.listed(dataset, cell);
        if (listed <= 0) return null;
        const part = dataset.present[cell] / listed;
        return CLASSES.findIndex(([, fits]) => fits(part));
      }));
      texts.push(months.map((_, column) => this.text(row, column).map(plain).join("<br>")));
    });
    const steps = CLASSES.length;
    const scale = CLASSES.flatMap((_, i) => [[i / steps, colour(`--share-${i}`)], [(i + 1) / steps, colour(`--share-${i}`)]]);
    const trace = {
      type: "heatmap", x: months, y: symbols.map(plain), z, text: texts, hoverinfo: "text", hoverongaps: true,
      zmin: -0.5, zmax: steps - 0.5, colorscale: scale, showscale: false, xgap: 1, ygap: 1,
    };
    const layout = layoutOf({
      height: 18 * Math.max(symbols.length, 3) + 90,
      margin: { l: 20, r: 10, t: 10, b: 50 },
      plot_bgcolor: colour("--none"),
      xaxis: { type: "category", automargin: true, showgrid: false, fixedrange: true, tickangle: months.length > 12 ? -60 : 0 },
      yaxis: {
        type: "category", autorange: "reversed", automargin: true, showgrid: false, fixedrange: true,
        tickmode: "linear", dtick: 1, tickfont: { size: 11 },
      },
    });
    if (months.length > 18) Object.assign(layout.xaxis, { tickmode: "linear", tick0: 0, dtick: Math.ceil(months.length / 18) });
    Plotly.react(this.place, [trace], layout, { ...SETTINGS, displayModeBar: false });
    if (!this.listens) this.place.on("plotly_hover", ({ points: [point] }) => this.say(...point.pointIndex));
    this.listens = true;
  }

  say(row, column) {
    this.at = [row, column];
    this.says.textContent = this.text(row, column).join("; ");
  }

  move(event) {
    const step = { ArrowUp: [-1, 0], ArrowDown: [1, 0], ArrowLeft: [0, -1], ArrowRight: [0, 1] }[event.key];
    if (!step) return;
    event.preventDefault();
    const [row, column] = [this.at[0] + step[0], this.at[1] + step[1]];
    if (row in this.source.symbols && column in this.source.months) {
      this.say(row, column);
      Plotly.Fx.hover(this.place, [{ curveNumber: 0, pointNumber: [row, column] }]);
    }
  }
}

// One symbol

const HOUR = 3600000;
const PANEL_HEIGHT = 150;

class SymbolChart {
  constructor() {
    this.source = data.symbol;
    this.place = document.getElementById("symbol-plot");
    this.says = document.getElementById("symbol-status");
    this.start = Date.parse(`${this.source.first}Z`);
    this.buttons = [...document.querySelectorAll("[data-hours]")];
    this.buttons.forEach((button) => button.addEventListener("click", () => this.last(Number(button.dataset.hours))));
    this.from = document.getElementById("symbol-from");
    this.to = document.getElementById("symbol-to");
    for (const input of [this.from, this.to]) {
      input.min = this.day(0);
      input.max = this.day(this.source.hours - 1);
      input.addEventListener("change", () => this.between());
    }
    this.place.setAttribute("aria-label", `Hourly lines of ${this.source.symbol}: ${this.source.panels.map((p) => p.title).join(", ")}`);
    this.last(2160);
  }

  time(hour) {
    return new Date(this.start + hour * HOUR).toISOString().slice(0, 16).replace("T", " ");
  }

  day(hour) {
    return this.time(hour).slice(0, 10);
  }

  last(count) {
    this.buttons.forEach((b) => b.setAttribute("aria-pressed", String(Number(b.dataset.hours) === count)));
    this.draw(count ? Math.max(this.source.hours - count, 0) : 0, this.source.hours);
  }

  between() {
    const hour = (input, days) => Math.round((Date.parse(`${input.value}T00:00Z`) + days * 24 * HOUR - this.start) / HOUR);
    const first = Math.max(hour(this.from, 0) || 0, 0);
    const end = Math.min(hour(this.to, 1) || this.source.hours, this.source.hours);
    this.buttons.forEach((b) => b.setAttribute("aria-pressed", "false"));
    if (first < end) this.draw(first, end);
    else this.says.textContent = "The first day is after the last one: choose others.";
  }

  draw(first, end) {
    this.range = [first, end];
    this.from.value = this.day(first);
    this.to.value = this.day(end - 1);
    const { panels } = this.source;
    const traces = [], layout = layoutOf({
      height: panels.length * PANEL_HEIGHT + 40,
      margin: { l: 58, r: 12, t: 24, b: 30 },
      showlegend: false,
      hovermode: "x unified",
      hoversubplots: "axis",
      xaxis: {
        type: "date", anchor: `y${panels.length > 1 ? panels.length : ""}`, gridcolor: colour("--grid"), zeroline: false,
        range: [this.time(first - 0.5), this.time(end - 0.5)], hoverformat: "%Y-%m-%d %H:%M",
        spikecolor: colour("--soft"), spikethickness: -1, spikedash: "dot",
      },
      annotations: [],
    });
    panels.forEach((panel, i) => {
      const axis = i ? `y${i + 1}` : "y";
      const top = 1 - i / panels.length;
      layout[`yaxis${i ? i + 1 : ""}`] = {
        domain: [top - 0.8 / panels.length, top - 0.05 / panels.length], gridcolor: colour("--grid"),
        zerolinecolor: colour("--line"), nticks: 5, tickfont: { size: 11 }, exponentformat: "B",
      };
      layout.annotations.push({
        text: `<b>${plain(panel.title)}</b>, ${plain(panel.unit)}`, xref: "paper", yref: "paper", x: 0, y: top - 0.04 / panels.length,
        xanchor: "left", yanchor: "bottom", showarrow: false,
      });
      panel.lines.forEach((line, j) => traces.push({
        type: "scatter", mode: "lines", name: plain(line.name), x0: this.time(first), dx: HOUR, y: line.values.slice(first, end), yaxis: axis,
        connectgaps: false, line: { width: 1.3, color: colour(`--line-${j}`), shape: panel.lines.length > 1 ? "hvh" : "linear" },
        hovertemplate: `%{y:${panel.format}}`,
      }));
    });
    layout.shapes = this.silences(first, end).slice(0, 300).map(([from, to]) => ({
      type: "rect", layer: "below", xref: "x", yref: "paper", y0: 0, y1: 1, x0: this.time(from - 0.5), x1: this.time(to - 0.5),
      line: { width: 0 }, fillcolor: colour("--gap"),
    }));
    Plotly.react(this.place, traces, layout, SETTINGS);
    this.describe(first, end);
  }

  // Runs of hours without a bar, the longest first.
  silences(first, end) {
    const runs = [];
    for (const hour of this.source.no_bar) {
      if (hour < first || hour >= end) continue;
      const run = runs.at(-1);
      if (run && run[1] === hour) run[1] += 1;
      else runs.push([hour, hour + 1]);
    }
    return runs.sort((a, b) => b[1] - b[0] - (a[1] - a[0]));
  }

  describe(first, end) {
    const silent = this.source.no_bar.filter((hour) => hour >= first && hour < end).length;
    let text = `${whole.format(end - first)} hours from ${this.time(first)} to ${this.time(end)} UTC, `;
    text += `${whole.format(silent)} of them without a bar.`;
    if (this.source.absent.length) text += ` Not in this warehouse: ${this.source.absent.join(", ")}.`;
    this.says.textContent = text;
  }
}

// First what is at the top; the chart of a symbol when the browser has time.
const charts = [];
if (!data.coverage.lacking) charts.push(new Coverage());
fillTables();
requestAnimationFrame(() => setTimeout(() => {
  if (!data.symbol.lacking) charts.push(new SymbolChart());
  document.body.dataset.ready = "yes";
}));
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => {
  charts.forEach((chart) => chart.draw(...(chart.range || [])));
});
