// What a reader of a report may ask: another number, another axis, fewer methods; tables sorted and copied.
import { chart } from "./chart.js";
import { density, isNumber, make, number } from "./words.js";

const AXES = {
  "density, log": { title: "density", show: density, log: true, downward: true },
  density: { title: "density", show: density, downward: true },
  level: { title: "level", show: (value) => number(value, 4), whole: true },
};
const SIZE = [680, 300];
/** What a table is copied as. */
const FORMS = { LaTeX: asLatex, Markdown: asMarkdown, CSV: asCsv };

for (const table of document.querySelectorAll(".wide > table")) sortable(table);
for (const place of document.querySelectorAll(".explorer")) explore(place);

function explore(place) {
  const { metrics, grids } = JSON.parse(place.querySelector("script").textContent);
  const asked = { metric: 0, grid: 0, axis: "density, log", off: new Set() };
  const [bar, names, plot, below] = [make("div", "asked"), make("div", "methods"), make("div", "plot"), make("div", "wide")];
  const select = (label, words, act) => {
    if (words.length < 2) return;
    const list = make("select");
    list.setAttribute("aria-label", label);
    words.forEach((word, at) => {
      const option = make("option", "", word);
      option.value = at;
      list.append(option);
    });
    list.addEventListener("change", () => {
      act(Number(list.value));
      draw();
    });
    bar.append(list);
  };
  select("what is drawn", metrics.map((it) => it.title), (at) => (asked.metric = at));
  select("grid", grids.map((it) => it.label), (at) => (asked.grid = at));
  select("axis", Object.keys(AXES).map((it) => `by ${it}`), (at) => (asked.axis = Object.keys(AXES)[at]));

  function draw() {
    const [metric, grid] = [metrics[asked.metric], grids[asked.grid]];
    const digits = metric.percent ? 2 : 4;
    const tell = (value) => (metric.percent ? `${value.toFixed(digits)} %` : number(value, digits));
    names.replaceChildren(...grid.curves.map((curve) => {
      const button = make("button", "", "");
      const swatch = make("i", "swatch");
      swatch.dataset.slot = curve.rank;
      button.append(swatch, curve.method);
      button.type = "button";
      button.setAttribute("aria-pressed", !asked.off.has(curve.method));
      button.addEventListener("click", () => {
        if (!asked.off.delete(curve.method)) asked.off.add(curve.method);
        draw();
      });
      return button;
    }));
    const lines = grid.curves.filter((it) => !asked.off.has(it.method)).map((curve) => {
      const points = curve.levels.filter((it) => it.values[asked.metric]);
      const x = (it) => (asked.axis === "level" ? it.level : it.density);
      const bounds = points.filter((it) => isNumber(it.values[asked.metric][1]));
      return {
        name: curve.method, slot: curve.rank, seeds: [],
        mean: points.map((it) => [x(it), it.values[asked.metric][0]]),
        band: bounds.map((it) => [x(it), it.values[asked.metric][1], it.values[asked.metric][2]]),
      };
    });
    chart(plot, lines, AXES[asked.axis], { title: metric.title, show: (value) => number(value, 4) + (metric.percent ? " %" : ""), full: tell }, SIZE);
    const table = numbers(grid, metric, digits);
    below.replaceChildren(table);
    sortable(table);
  }

  /** A row for each level and density that methods have there, a column for each method: mean ± half of the interval. */
  function numbers(grid, metric, digits) {
    const shown = grid.curves.filter((it) => !asked.off.has(it.method));
    // Methods may have other densities at the same level.
    const share = (row) => Number(row.density.toPrecision(4));
    const at = (row) => `${row.level} ${share(row)}`;
    const places = [...new Map(shown.flatMap((it) => it.levels.map((row) => [at(row), row]))).values()];
    const table = make("table");
    table.dataset.title = `${metric.title}${metric.percent ? ", %" : ""}${grid.label ? ` (${grid.label})` : ""}`;
    const [top, body, head] = [make("thead"), make("tbody"), make("tr")];
    head.append(make("th", "number", "level"), make("th", "number", "density"), ...shown.map((it) => make("th", "number", it.method)));
    top.append(head);
    for (const row of places.sort((a, b) => a.level - b.level || b.density - a.density)) {
      const line = make("tr");
      line.append(make("td", "number", String(row.level)), make("td", "number", String(share(row))));
      for (const curve of shown) {
        const value = curve.levels.find((it) => at(it) === at(row))?.values[asked.metric];
        const half = value && isNumber(value[2]) ? ` ± ${(value[2] - value[0]).toFixed(digits)}` : "";
        line.append(make("td", "number", value ? value[0].toFixed(digits) + half : ""));
      }
      body.append(line);
    }
    table.append(top, body);
    return table;
  }

  place.append(bar, names, plot, below);
  place.hidden = false;
  draw();
}

/** Titles sort; buttons copy. */
function sortable(table) {
  const heads = [...table.querySelectorAll("thead th")];
  for (const [at, head] of heads.entries()) {
    if (head.textContent === "") continue;
    const button = make("button", "", head.textContent);
    button.type = "button";
    button.title = "sort";
    head.replaceChildren(button);
    button.addEventListener("click", () => {
      const down = head.ariaSort === "ascending";
      for (const other of heads) other.ariaSort = "none";
      head.ariaSort = down ? "descending" : "ascending";
      const rows = [...table.tBodies[0].rows];
      const key = (row) => cell(row.cells[at]);
      rows.sort((a, b) => (down ? -1 : 1) * compare(key(a), key(b)));
      table.tBodies[0].append(...rows);
    });
  }
  const bar = make("p", "copy", "copy as");
  for (const [name, form] of Object.entries(FORMS)) {
    const button = make("button", "", name);
    button.type = "button";
    button.addEventListener("click", async () => {
      const done = await copy(form(contents(table), table.dataset.title ?? ""));
      button.textContent = done ? "copied" : "cannot copy";
      setTimeout(() => (button.textContent = name), 1200);
    });
    bar.append(button);
  }
  table.after(bar);
}

/** The text of a cell, a small remark behind its first line. */
function cell(element) {
  const small = [...element.querySelectorAll("small")].map((it) => it.textContent);
  const own = element.cloneNode(true);
  for (const it of own.querySelectorAll("small, svg")) it.remove();
  const text = own.textContent.trim().replace(/\s+/g, " ");
  return small.length > 0 ? `${text} (${small.join("; ")})` : text;
}

function compare(a, b) {
  const [x, y] = [a, b].map((it) => parseFloat(it.replace("\u2212", "-").replace(/^< /, "")));
  if (Number.isNaN(x) || Number.isNaN(y)) return Number.isNaN(x) - Number.isNaN(y) || a.localeCompare(b);
  return x - y;
}

/** Titles and rows as texts, without columns that hold pictures alone. */
function contents(table) {
  const lines = [table.tHead.rows[0], ...table.tBodies[0].rows].map((row) => [...row.cells].map(cell));
  const kept = lines[0].map((_, at) => lines.some((line) => line[at] !== ""));
  return lines.map((line) => line.filter((_, at) => kept[at]));
}

function asCsv(lines) {
  const quoted = (text) => (/[",\n]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text);
  return lines.map((line) => line.map(quoted).join(",")).join("\n") + "\n";
}

function asMarkdown([head, ...rows]) {
  const line = (texts) => `| ${texts.map((it) => it.replaceAll("|", "\\|")).join(" | ")} |`;
  return [line(head), `|${head.map(() => "---|").join("")}`, ...rows.map(line)].join("\n") + "\n";
}

const LATEX = {
  "\\": "\\textbackslash{}", "{": "\\{", "}": "\\}", "%": "\\%", "&": "\\&", "#": "\\#", _: "\\_", $: "\\$", "^": "\\^{}",
  "~": "\\~{}", "±": "$\\pm$", "\u2212": "$-$", "<": "$<$", ">": "$>$",
};

function asLatex([head, ...rows], title) {
  const safe = (text) => text.replace(/[\\{}%&#_$^~±\u2212<>]/g, (it) => LATEX[it]);
  const line = (texts) => `  ${texts.map(safe).join(" & ")} \\\\`;
  const numbers = head.map((_, at) => (rows.every((row) => row[at] === "" || !Number.isNaN(parseFloat(row[at].replace("\u2212", "-")))) ? "r" : "l"));
  return [
    ...(title ? [`% ${title.replaceAll("\n", " ")}`] : []), `\\begin{tabular}{${numbers.join("")}}`, "  \\toprule", line(head),
    "  \\midrule", ...rows.map(line), "  \\bottomrule", "\\end{tabular}", "",
  ].join("\n");
}

async function copy(text) {
  try {
    await navigator.clipboard.writeText(text);
    return true;
  } catch {
    // A page without a secure origin, or a browser that asks.
    const area = make("textarea");
    area.value = text;
    document.body.append(area);
    area.select();
    const done = document.execCommand("copy");
    area.remove();
    return done;
  }
}
