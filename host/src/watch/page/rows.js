// The runs and sweeps that the server told of: which of them are in view, in which order.
import { isNumber, ranges } from "./words.js";

/** What a column is called in a filter, and its number or text in a row. */
export const FIELDS = {
  state: (it) => it.state,
  name: (it) => it.name,
  sweep: (it) => it.cells.map((cell) => cell.sweep).join(" "),
  method: (it) => it.method,
  seeds: (it) => it.seeds.length,
  done: (it) => (it.levels ? it.levels_done / it.levels : 0),
  level: (it) => it.level,
  density: (it) => it.density,
  accuracy: (it) => it.test_accuracy,
  validation: (it) => it.validation_accuracy,
  loss: (it) => it.test_loss,
  flips: (it) => it.flips_init,
  pace: (it) => it.seconds_a_level,
  left: (it) => it.seconds_left,
  disk: (it) => it.bytes,
  host: (it) => it.owner?.host ?? "",
};

export const STATES = ["running", "failed", "stopped", "waiting", "behind", "done"];

export class Rows {
  constructor() {
    this.all = new Map();
    this.sweeps = new Map();
    this.folder = null;
    this.sweep = null;
    this.states = new Set();
    this.filter = "";
    this.sort = { field: "state", down: false };
    this.view = [];
  }

  /** Takes in changes; returns the ids of the runs that changed. */
  heed(changes) {
    const changed = new Set();
    if (changes.whole) {
      this.all.clear();
      this.sweeps.clear();
    }
    for (const key of changes.gone) {
      if (key.startsWith("run/")) this.all.delete(key.slice(4));
      if (key.startsWith("sweep/")) this.sweeps.delete(key.slice(6));
    }
    for (const item of changes.items) {
      if (item.kind === "folder") this.folder = item;
      if (item.kind === "sweep") this.sweeps.set(item.id, item);
      if (item.kind === "run") {
        this.all.set(item.id, described(item));
        changed.add(item.id);
      }
    }
    if (this.sweep !== null && !this.sweeps.has(this.sweep)) this.sweep = null;
    return changed;
  }

  /** Finds the rows in view and their order anew. */
  arrange() {
    const matches = parse(this.filter);
    const { field, down } = this.sort;
    const pick = field === "state" ? (it) => STATES.indexOf(it.state) : FIELDS[field];
    const own = (it) => this.sweep === null || it.cells.some((cell) => cell.sweep === this.sweep);
    const found = [];
    this.counts = Object.fromEntries(STATES.map((state) => [state, 0]));
    this.found = 0;
    for (const row of this.all.values()) {
      if (!own(row) || !matches(row)) continue;
      this.counts[row.state] += 1;
      this.found += 1;
      if (this.states.size > 0 && !this.states.has(row.state)) continue;
      found.push([pick(row), row]);
    }
    found.sort(([a, one], [b, other]) => compare(a, b, down) || compareTexts(one.name, other.name));
    this.view = found.map((it) => it[1]);
    this.places = null;
  }

  /** The place of a run in view, or -1. */
  place(id) {
    this.places ??= new Map(this.view.map((row, place) => [row.id, place]));
    return this.places.get(id) ?? -1;
  }

  /** The name of a row where the sweep is known. */
  nameOf(row) {
    return row.cells.find((cell) => cell.sweep === this.sweep)?.cell ?? row.name;
  }

  /** Whether a row of the view has a number of this field. */
  has(field) {
    return this.view.some((row) => isNumber(FIELDS[field](row)));
  }
}

const words = new Intl.Collator("en");
const partsKnown = new Map();

/** A text's words, and at odd places its numbers. */
function partsOf(text) {
  const known = partsKnown.get(text);
  if (known) return known;
  const parts = text.split(/(\d+(?:\.\d+)?)/).map((it, place) => (place % 2 ? Number(it) : it));
  partsKnown.set(text, parts);
  return parts;
}

/** The order of two texts in which numbers count as such: 0.014 comes before 0.02, and 9 before 10. */
function compareTexts(a, b) {
  const [left, right] = [partsOf(a), partsOf(b)];
  for (let place = 0; place < Math.min(left.length, right.length); place++) {
    const order = place % 2 ? left[place] - right[place] : words.compare(left[place], right[place]);
    if (order) return order;
  }
  return left.length - right.length || words.compare(a, b);
}

/** What is unknown comes last, either way round. */
function compare(a, b, down) {
  const [hasA, hasB] = [a, b].map((it) => it !== null && it !== undefined && it !== "");
  if (!hasA || !hasB) return hasB - hasA;
  const order = typeof a === "number" ? a - b : compareTexts(a, b);
  return down ? -order : order;
}

/** A row with its name, method and the text that words are looked for in. */
function described(row) {
  const [first] = row.cells;
  row.name = first ? first.cell : row.id;
  row.method = first?.method || row.id.replace(/-[0-9a-f]{8}$/, "");
  row.shownSeeds = ranges(row.seeds);
  const values = row.cells.flatMap((cell) => Object.entries(cell.values).map(([key, value]) => `${key}=${value}`));
  const owner = row.owner ? `${row.owner.host} ${row.owner.job ?? ""}` : "";
  const names = row.cells.map((cell) => `${cell.sweep} ${cell.cell} ${cell.method}`);
  row.text = [row.id, ...names, row.state, owner, row.note, row.trouble ?? "", ...values].join(" ").toLowerCase();
  return row;
}

/** What a filter's words ask of a row. */
function parse(filter) {
  const tests = filter.toLowerCase().split(/\s+/).filter(Boolean).map((word) => {
    const not = word.length > 1 && word.startsWith("-");
    const test = wordTest(not ? word.slice(1) : word);
    return not ? (row) => !test(row) : test;
  });
  return (row) => tests.every((test) => test(row));
}

function wordTest(word) {
  const parts = /^([a-z]+)(:|>=|<=|>|<)(.*)$/.exec(word);
  const field = parts && FIELDS[parts[1]];
  if (!field) return (row) => row.text.includes(word);
  const [, , sign, asked] = parts;
  if (sign === ":") return (row) => String(field(row) ?? "").toLowerCase().includes(asked);
  const bound = asked.endsWith("%") ? Number(asked.slice(0, -1)) / 100 : Number(asked);
  if (asked === "" || Number.isNaN(bound)) return () => true;
  const signs = { ">": (a) => a > bound, "<": (a) => a < bound, ">=": (a) => a >= bound, "<=": (a) => a <= bound };
  return (row) => isNumber(field(row)) && signs[sign](field(row));
}
