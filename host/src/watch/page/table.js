// The table of runs. Only rows in sight are elements, so that ten thousand scroll like ten.
import { bytes, density, duration, make, number, percent } from "./words.js";

const HEIGHT = 28;
/** Rows beyond the edges, so that a quick scroll shows no gap. */
const BEYOND = 8;

/** Field, title, what it means, and what a cell shows. */
const COLUMNS = [
  ["mark", "", "chosen", null],
  ["state", "state", "", (row) => row.state],
  ["name", "run", "the cell's name, or the run's", null],
  ["method", "method", "", (row) => row.method],
  ["seeds", "seeds", "", (row) => row.shownSeeds],
  ["done", "levels", "finished levels of all seeds", null],
  ["level", "level", "the last level that a seed finished; what follows is of it, the mean over the seeds there", (row) => number(row.level)],
  ["density", "density", "share of the weights that survive", (row) => density(row.density)],
  ["accuracy", "accuracy", "test accuracy", (row) => percent(row.test_accuracy)],
  ["validation", "validation", "validation accuracy", (row) => percent(row.validation_accuracy)],
  ["loss", "loss", "test loss", (row) => number(row.test_loss)],
  ["flips", "flips", "survivors whose sign differs from init", (row) => percent(row.flips_init, 1)],
  ["pace", "a level", "time that a level takes for all seeds", (row) => duration(row.seconds_a_level)],
  ["left", "left", "time left at this pace", (row) => (["done", "behind"].includes(row.state) ? "" : duration(row.seconds_left))],
  ["disk", "disk", "its files, shared ones included", (row) => bytes(row.bytes)],
  ["host", "host", "the machine that is at work on it", (row) => row.owner?.host ?? ""],
];
const TEXT = new Set(["mark", "state", "name", "method", "seeds", "done", "host"]);

export class Table {
  constructor(rows, chosen, heed) {
    this.rows = rows;
    this.chosen = chosen;
    this.heed = heed;
    this.focus = null;
    this.pool = [];
    this.grid = document.getElementById("grid");
    this.head = document.getElementById("head");
    this.body = document.getElementById("rows");
    this.heads = COLUMNS.map(([field, title, about]) => this.makeHead(field, title, about));
    this.grid.addEventListener("scroll", () => this.later());
    new ResizeObserver(() => this.later()).observe(this.grid);
    this.body.addEventListener("click", (event) => this.clicked(event));
    this.grid.addEventListener("keydown", (event) => this.pressed(event));
  }

  makeHead(field, title, about) {
    const cell = make("div", TEXT.has(field) ? "" : "number");
    cell.setAttribute("role", "columnheader");
    cell.dataset.field = field;
    if (field !== "mark") {
      const button = make("button", "", title);
      button.type = "button";
      button.tabIndex = -1;
      button.title = about ? `${about}; sort` : "sort";
      button.addEventListener("click", () => this.sortBy(field));
      cell.append(button);
    }
    this.head.append(cell);
    return cell;
  }

  sortBy(field) {
    const { sort } = this.rows;
    const down = sort.field === field ? !sort.down : !TEXT.has(field);
    this.rows.sort = { field, down };
    this.arrange();
  }

  /** Arranges and draws anew, with the focus where it was. */
  arrange() {
    this.rows.arrange();
    const { view, sort } = this.rows;
    if (this.focus === null || this.rows.place(this.focus) < 0) this.focus = view[0]?.id ?? null;
    for (const cell of this.heads) {
      const { field } = cell.dataset;
      const order = field === sort.field ? (sort.down ? "descending" : "ascending") : "none";
      cell.setAttribute("aria-sort", order);
    }
    this.grid.classList.toggle("validated", this.rows.has("validation"));
    this.grid.setAttribute("aria-rowcount", view.length + 1);
    this.body.style.height = `${view.length * HEIGHT}px`;
    this.later();
  }

  /** Draws with the next frame. */
  later() {
    this.frame ??= requestAnimationFrame(() => {
      this.frame = null;
      this.draw();
    });
  }

  draw() {
    const { view } = this.rows;
    const top = Math.max(0, this.grid.scrollTop - this.head.offsetHeight);
    const first = Math.max(0, Math.floor(top / HEIGHT) - BEYOND);
    const last = Math.min(view.length, Math.ceil((top + this.grid.clientHeight) / HEIGHT) + BEYOND);
    while (this.pool.length < last - first) this.pool.push(this.makeRow());
    this.pool.forEach((line, place) => {
      const row = view[first + place];
      const isThere = first + place < last;
      line.element.hidden = !isThere;
      if (isThere) this.fill(line, row, first + place);
    });
    const at = this.rows.place(this.focus);
    const line = at >= first && at < last ? this.pool[at - first] : null;
    if (line) this.grid.setAttribute("aria-activedescendant", line.element.id);
    else this.grid.removeAttribute("aria-activedescendant");
  }

  makeRow() {
    const element = make("div", "row");
    element.setAttribute("role", "row");
    element.id = `row-${this.pool.length}`;
    const cells = COLUMNS.map(([field]) => {
      const cell = make("div", TEXT.has(field) ? field : `number ${field}`);
      cell.setAttribute("role", "gridcell");
      element.append(cell);
      return cell;
    });
    const [swatch, dot, bar, count] = [make("i", "swatch"), make("i", "dot"), make("progress"), make("span")];
    cells[0].append(swatch);
    const word = make("span");
    cells[1].append(dot, word);
    const name = make("span");
    const note = make("small");
    cells[2].append(name, note);
    cells[5].append(bar, count);
    this.body.append(element);
    return { element, cells, swatch, word, name, note, bar, count };
  }

  fill(line, row, place) {
    const { element, cells } = line;
    const slot = this.chosen.slot(row.id);
    element.style.transform = `translateY(${place * HEIGHT}px)`;
    element.dataset.id = row.id;
    element.dataset.state = row.state;
    element.classList.toggle("focus", row.id === this.focus);
    element.setAttribute("aria-rowindex", place + 2);
    element.setAttribute("aria-selected", slot !== null);
    line.swatch.dataset.slot = slot ?? "";
    put(line.word, row.state);
    put(line.name, this.rows.nameOf(row));
    put(line.note, row.trouble ?? row.note);
    const title = [row.id, row.note, row.trouble, held(row)].filter(Boolean).join("\n");
    if (cells[2].title !== title) cells[2].title = title;
    if (line.bar.max !== (row.levels || 1)) line.bar.max = row.levels || 1;
    if (line.bar.value !== row.levels_done) line.bar.value = row.levels_done;
    put(line.count, `${row.levels_done}/${row.levels ?? "?"}`);
    COLUMNS.forEach(([, , , show], at) => {
      if (show && at !== 1) put(cells[at], show(row));
    });
  }

  clicked(event) {
    const id = event.target.closest(".row")?.dataset.id;
    if (!id) return;
    const adds = event.ctrlKey || event.metaKey || event.shiftKey || event.target.closest(".mark");
    this.focus = id;
    if (adds) this.chosen.toggle(id);
    else this.chosen.only(id);
    this.later();
    this.heed();
  }

  pressed(event) {
    const page = Math.max(1, Math.floor(this.grid.clientHeight / HEIGHT) - 2);
    const { view } = this.rows;
    const at = this.rows.place(this.focus);
    const to = {
      ArrowUp: at - 1, k: at - 1, ArrowDown: at + 1, j: at + 1,
      PageUp: at - page, PageDown: at + page, Home: 0, End: view.length - 1,
    }[event.key];
    if (event.altKey || event.ctrlKey || event.metaKey) return;
    if (to !== undefined) this.move(Math.min(Math.max(to, 0), view.length - 1));
    else if (event.key === " " && this.focus !== null) this.chosen.toggle(this.focus);
    else if (event.key === "Enter" && this.focus !== null) this.chosen.only(this.focus);
    else return;
    event.preventDefault();
    this.later();
    this.heed();
  }

  move(place) {
    if (place < 0) return;
    this.focus = this.rows.view[place].id;
    const [top, head] = [place * HEIGHT, this.head.offsetHeight];
    const { scrollTop, clientHeight } = this.grid;
    if (top < scrollTop) this.grid.scrollTop = top;
    else if (top + HEIGHT + head > scrollTop + clientHeight) this.grid.scrollTop = top + HEIGHT + head - clientHeight;
  }
}

/** Writes a text where it is another one. */
function put(element, text) {
  if (element.textContent !== text) element.textContent = text;
}

/** Who has a run. */
export function held(row) {
  if (!row.owner) return "";
  const job = row.owner.job ? `, job ${row.owner.job}` : "";
  const time = row.seconds_held ? `, for ${duration(row.seconds_held)}` : "";
  const silent = row.seconds_silent > 20 ? `, last sign of life ${duration(row.seconds_silent)} ago` : "";
  return `process ${row.owner.pid} on ${row.owner.host}${job}${time}${silent}`;
}
