// The curves of the chosen runs: which numbers, on which axis.
import { chart } from "./chart.js";
import { density, duration, isNumber, make, number, percent } from "./words.js";

const share = { show: (value) => `${number(100 * value, 4)} %`, full: (value) => percent(value) };
const plain = { show: (value) => number(value, 3), full: (value) => number(value, 5) };
const log = { ...share, show: density, full: density, log: true };

/** What can be drawn of levels, and of epochs, as the records call it. */
const LEVELS = {
  test_accuracy: { title: "test accuracy", ...share },
  test_loss: { title: "test loss", ...plain },
  density: { title: "density", ...log },
  flips_init: { title: "sign flips since init", ...share },
  flips_start: { title: "sign flips within the level", ...share },
  flips_previous: { title: "sign flips since the level before", ...share },
  validation_accuracy: { title: "validation accuracy", ...share },
  validation_loss: { title: "validation loss", ...plain },
  train_loss: { title: "training loss", ...plain },
  effective_density: { title: "effective density", ...log },
  test_top_5_accuracy: { title: "top-5 accuracy", ...share },
  test_nll: { title: "negative log-likelihood", ...plain },
  test_perplexity: { title: "perplexity", ...plain },
  test_ece: { title: "calibration error", ...share },
  test_rmse: { title: "root mean squared error", ...plain },
  test_r2: { title: "R²", ...plain },
};
const EPOCHS = {
  train_loss: { title: "training loss", ...plain },
  train_accuracy: { title: "training accuracy", ...share },
  test_accuracy: { title: "test accuracy", ...share },
  test_loss: { title: "test loss", ...plain },
  validation_accuracy: { title: "validation accuracy", ...share },
  validation_loss: { title: "validation loss", ...plain },
  lr: { title: "learning rate", ...plain },
  crossed_epoch: { title: "sign flips in the epoch", ...share },
  crossed_start: { title: "sign flips since the level's start", ...share },
};
const AXES = {
  level: { title: "level", show: (value) => number(value, 4), whole: true },
  density: { title: "density", show: density, log: true, downward: true },
  epoch: { title: "level, by epochs", show: (value) => number(value, 4) },
};
/** Charts side by side. */
const CHARTS = 4;

export class Curves {
  constructor() {
    this.axis = "level";
    this.picked = { level: Object.keys(LEVELS).slice(0, CHARTS), density: [], epoch: Object.keys(EPOCHS).slice(0, CHARTS) };
    this.picked.density = ["test_accuracy", "test_loss", "flips_init", "flips_previous"];
  }

  /** Whether epochs are drawn, which are asked for by themselves. */
  get wantsEpochs() {
    return this.axis === "epoch";
  }

  /** Draws `shown`: { name, slot, run, epochs, row }; `again` is called when another axis or number is asked for. */
  draw(place, shown, again) {
    const bar = make("div", "axes");
    bar.append(make("span", "", "by"));
    for (const [name, axis] of Object.entries(AXES)) {
      const button = make("button", "", name === "epoch" ? "epochs" : axis.title);
      button.type = "button";
      button.setAttribute("aria-pressed", name === this.axis);
      button.addEventListener("click", () => {
        this.axis = name;
        again();
      });
      bar.append(button);
    }
    const grid = make("div", "charts");
    const known = this.wantsEpochs ? EPOCHS : LEVELS;
    const there = Object.keys(known).filter((metric) => shown.some((it) => this.has(it, metric)));
    const picked = this.picked[this.axis];
    const free = there.filter((metric) => !picked.includes(metric));
    for (let at = 0; at < CHARTS; at += 1) {
      if (!there.includes(picked[at]) && free.length > 0) picked[at] = free.shift();
      if (!there.includes(picked[at])) continue;
      grid.append(this.one(at, there, known, shown, again));
    }
    place.replaceChildren(bar, grid);
    if (there.length === 0) grid.append(make("p", "none", "No level is finished yet. Within a level, epochs come with each checkpoint: every minute."));
  }

  one(at, there, known, shown, again) {
    const figure = make("figure");
    const caption = make("figcaption");
    const select = make("select");
    select.setAttribute("aria-label", "what is drawn");
    for (const metric of there) {
      const option = make("option", "", known[metric].title);
      option.value = metric;
      select.append(option);
    }
    const metric = this.picked[this.axis][at];
    select.value = metric;
    select.addEventListener("change", () => {
      this.picked[this.axis][at] = select.value;
      again();
    });
    caption.append(select);
    const place = make("div", "plot");
    figure.append(caption, place);
    chart(place, shown.map((it) => this.line(it, metric)), AXES[this.axis], known[metric]);
    return figure;
  }

  has({ run, epochs }, metric) {
    if (this.wantsEpochs) return (epochs?.seeds ?? []).some((it) => it.epochs[metric]?.some(isNumber));
    return (run?.seeds ?? []).some((it) => it.summaries.some((level) => isNumber(level[metric])));
  }

  line({ name, slot, run, epochs }, metric) {
    const seeds = this.wantsEpochs
      ? (epochs?.seeds ?? []).map((seed) => epochPoints(seed.epochs, metric))
      : (run?.seeds ?? []).map((seed) => seed.summaries.map((it) => [it.level, this.axis === "level" ? it.level : it.density, it[metric]]));
    return {
      name, slot, mean: mean(seeds),
      seeds: seeds.map((points) => points.map((it) => it.slice(1))).filter((it) => it.length > 0),
    };
  }
}

/** Key, place and height of each epoch: a level is as long as its steps, those of the last one as the one before it. */
function epochPoints(epochs, metric) {
  const { level = [], epoch = [], step = [] } = epochs;
  const values = epochs[metric] ?? [];
  const steps = new Map();
  level.forEach((it, at) => steps.set(it, Math.max(steps.get(it) ?? 0, step[at])));
  const last = level.at(-1);
  if (steps.has(last - 1)) steps.set(last, Math.max(steps.get(last), steps.get(last - 1)));
  return level.map((it, at) => [`${it}/${epoch[at]}`, it + step[at] / (steps.get(it) || 1), values[at]]);
}

/** The mean of the seeds that have a number, at each level or epoch. */
function mean(seeds) {
  const sums = new Map();
  for (const [key, x, y] of seeds.flat()) {
    if (!isNumber(x) || !isNumber(y)) continue;
    const sum = sums.get(key) ?? { x: 0, y: 0, count: 0 };
    sum.x += x;
    sum.y += y;
    sum.count += 1;
    sums.set(key, sum);
  }
  const points = [...sums.values()].map((it) => [it.x / it.count, it.y / it.count]);
  return points.sort((a, b) => a[0] - b[0]);
}

/** The levels of one run, a row for each, as means over the seeds that finished it. */
export function levelTable(run, row) {
  const table = make("table");
  const columns = [
    ["density", "density", density], ["test accuracy", "test_accuracy", percent], ["validation", "validation_accuracy", percent],
    ["test loss", "test_loss", number], ["training loss", "train_loss", number], ["flips", "flips_init", (it) => percent(it, 1)],
    ["within", "flips_start", (it) => percent(it, 1)], ["effective density", "effective_density", density],
  ];
  const summaries = run.seeds.flatMap((it) => it.summaries);
  const there = columns.filter(([, field]) => summaries.some((it) => isNumber(it[field])));
  const head = make("tr");
  head.append(make("th", "number", "level"), make("th", "number", "seeds"));
  for (const [title] of there) head.append(make("th", "number", title));
  const [top, body] = [make("thead"), make("tbody")];
  top.append(head);
  const last = Math.max(-1, ...summaries.map((it) => it.level));
  for (let level = 0; level <= last; level += 1) {
    const own = summaries.filter((it) => it.level === level);
    const line = make("tr");
    line.append(make("td", "number", String(level)), make("td", "number", String(own.length)));
    for (const [, field, show] of there) {
      const values = own.map((it) => it[field]).filter(isNumber);
      const value = values.reduce((sum, it) => sum + it, 0) / values.length;
      line.append(make("td", "number", show(value)));
    }
    body.append(line);
  }
  table.append(top, body);
  const facts = [row.seconds_a_level ? `a level takes ${duration(row.seconds_a_level)}` : ""];
  return last < 0 ? make("p", "none", "No level is finished yet.") : wrap(table, facts.filter(Boolean).join(", "));
}

function wrap(table, facts) {
  const place = make("div", "wide");
  place.append(table);
  if (facts) place.append(make("p", "note", facts));
  return place;
}
