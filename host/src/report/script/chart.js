// A line chart: several runs over each other, seeds as thin lines, their means as thick ones, values under the pointer.
import { isNumber, make } from "./words.js";

const SVG = "http://www.w3.org/2000/svg";
const EDGE = { left: 50, right: 10, top: 8, bottom: 32 };

function draw(name, attributes, text) {
  const made = document.createElementNS(SVG, name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  if (text !== undefined) made.textContent = text;
  return made;
}

/**
 * Draws lines into `place`.
 *
 * `lines`: { name, slot, mean: [[x, y], ...], seeds: [[[x, y], ...], ...], band: [[x, low, high], ...] }, of which the band
 * need not be there; `x` and `y`: { title, show, full, log, downward }; `width` and `tall`: its size where it is not scaled.
 */
export function chart(place, lines, x, y, [width, tall] = [340, 220]) {
  const frame = { width, tall, right: width - EDGE.right, bottom: tall - EDGE.bottom };
  const points = lines.flatMap((line) => [...line.seeds, line.mean].flat());
  const usable = points.filter(([a, b]) => isNumber(a) && isNumber(b) && (!x.log || a > 0) && (!y.log || b > 0));
  if (usable.length === 0) {
    place.replaceChildren(make("p", "none", "no numbers yet"));
    return;
  }
  const across = scale(usable.map((it) => it[0]), x, EDGE.left, frame.right - EDGE.left, x.downward);
  const up = scale(heights(usable.map((it) => it[1]), lines), y, EDGE.top, frame.bottom - EDGE.top, true);
  const svg = draw("svg", { viewBox: `0 0 ${width} ${tall}`, class: "chart", role: "img" });
  svg.setAttribute("aria-label", `${y.title} by ${x.title}: ${lines.map((it) => it.name).join(", ")}`);
  axes(svg, frame, across, up, x, y);
  // An interval far wider than the spread of all values runs out of the picture.
  const within = (value) => Math.min(Math.max(value, up.low), up.high);
  const path = (list) => {
    let [text, pen] = ["", "M"];
    for (const [a, b] of list) {
      if (!isNumber(a) || !isNumber(b) || (x.log && a <= 0) || (y.log && b <= 0)) {
        pen = "M";
        continue;
      }
      text += `${pen}${across.at(a).toFixed(1)},${up.at(b).toFixed(1)}`;
      pen = "L";
    }
    return text;
  };
  for (const line of lines) {
    const group = draw("g", { class: "line", "data-slot": line.slot });
    // Bands of many lines would hide each other.
    if (line.band && lines.length <= 3) {
      const edge = (at) => line.band.map((it) => [it[0], within(it[at])]);
      const [low, high] = [path(edge(1)), path(edge(2).reverse())];
      group.append(draw("path", { class: "band", d: `${low}L${high.slice(1)}Z` }));
    } else for (const [a, low, high] of line.band ?? []) {
      const place = across.at(a);
      group.append(draw("line", { class: "bar", x1: place, x2: place, y1: up.at(within(low)), y2: up.at(within(high)) }));
    }
    if (line.seeds.length > 1) for (const seed of line.seeds) group.append(draw("path", { class: "seed", d: path(seed) }));
    group.append(draw("path", { class: "mean", d: path(line.mean) }));
    if (line.mean.length <= 40) {
      for (const [a, b] of line.mean) {
        if (isNumber(b) && (!x.log || a > 0)) group.append(draw("circle", { cx: across.at(a), cy: up.at(b), r: 2.2 }));
      }
    }
    svg.append(group);
  }
  place.replaceChildren(svg);
  point(place, svg, frame, lines, across, up, x, y);
}

/** The values and, unless they are far wider than the spread of all values, the ends of their intervals. */
function heights(values, lines) {
  const [low, high] = [values.reduce((a, b) => Math.min(a, b)), values.reduce((a, b) => Math.max(a, b))];
  const room = 1.2 * (high - low);
  const ends = lines.flatMap((line) => (line.band ?? []).flatMap((it) => it.slice(1)));
  return values.concat(ends.filter((it) => low - room <= it && it <= high + room));
}

/** Where values lie, and where marks stand. */
function scale(values, axis, start, length, backward) {
  let [low, high] = [Infinity, -Infinity];
  for (const value of values) {
    low = Math.min(low, value);
    high = Math.max(high, value);
  }
  const warp = axis.log ? Math.log10 : (value) => value;
  let marks;
  if (axis.log) {
    if (low === high) [low, high] = [low / 2, high * 2];
    marks = [];
    for (let power = Math.floor(Math.log10(low)); power <= Math.ceil(Math.log10(high)); power += 1) {
      for (const digit of Math.log10(high / low) > 2 ? [1] : [1, 2, 5]) marks.push(digit * 10 ** power);
    }
  } else {
    if (low === high) [low, high] = [low - Math.abs(low || 1) * 0.05, high + Math.abs(high || 1) * 0.05];
    const room = axis.whole ? 0 : (high - low) * 0.04;
    [low, high] = [low - room, high + room];
    const step = even((high - low) / 5, axis.whole);
    marks = [];
    for (let mark = Math.ceil(low / step) * step; mark <= high + step * 1e-6; mark += step) marks.push(mark);
  }
  const [from, to] = [warp(low), warp(high)];
  const share = (value) => (warp(value) - from) / (to - from);
  const at = (value) => start + length * (backward ? 1 - share(value) : share(value));
  return { at, low, high, marks: marks.filter((it) => it >= low * (1 - 1e-9) - 1e-12 && it <= high * (1 + 1e-9) + 1e-12) };
}

/** A step of 1, 2 or 5 times a power of ten that is no smaller. */
function even(step, whole) {
  const power = 10 ** Math.floor(Math.log10(step));
  const found = [1, 2, 5, 10].map((digit) => digit * power).find((it) => it >= step * 0.999);
  return whole ? Math.max(1, found) : found;
}

function axes(svg, { tall, right, bottom }, across, up, x, y) {
  for (const mark of up.marks) {
    const at = up.at(mark);
    svg.append(draw("line", { class: "mesh", x1: EDGE.left, x2: right, y1: at, y2: at }));
    svg.append(draw("text", { class: "mark end", x: EDGE.left - 6, y: at + 3.5 }, y.show(mark)));
  }
  let free = -Infinity;
  for (const mark of [...across.marks].sort((a, b) => across.at(a) - across.at(b))) {
    const [at, text] = [across.at(mark), x.show(mark)];
    // Marks that would touch are left out.
    if (at - text.length * 3 < free) continue;
    free = at + text.length * 3 + 6;
    svg.append(draw("text", { class: "mark middle", x: at, y: bottom + 14 }, text));
    svg.append(draw("line", { class: "tick", x1: at, x2: at, y1: bottom, y2: bottom + 3 }));
  }
  svg.append(draw("line", { class: "tick", x1: EDGE.left, x2: right, y1: bottom, y2: bottom }));
  svg.append(draw("text", { class: "mark middle", x: (EDGE.left + right) / 2, y: tall - 4 }, x.title));
}

/** Shows the values nearest to the pointer. */
function point(place, svg, { width, bottom }, lines, across, up, x, y) {
  const all = [...new Set(lines.flatMap((line) => line.mean.map((it) => it[0])))];
  const at = all.filter((it) => isNumber(it) && (!x.log || it > 0)).map((value) => [across.at(value), value]);
  at.sort((a, b) => a[0] - b[0]);
  const rule = draw("line", { class: "rule", y1: EDGE.top, y2: bottom });
  const dots = draw("g", {});
  svg.append(rule, dots);
  const tip = make("div", "tip");
  tip.hidden = true;
  place.append(tip);
  const leave = () => {
    tip.hidden = true;
    rule.classList.remove("seen");
    dots.replaceChildren();
  };
  svg.addEventListener("pointerleave", leave);
  svg.addEventListener("pointermove", (event) => {
    const box = svg.getBoundingClientRect();
    const where = ((event.clientX - box.left) / box.width) * width;
    const [place, value] = at.reduce((a, b) => (Math.abs(b[0] - where) < Math.abs(a[0] - where) ? b : a));
    rule.setAttribute("x1", place);
    rule.setAttribute("x2", place);
    rule.classList.add("seen");
    dots.replaceChildren();
    const found = lines.map((line) => [line, line.mean.find((it) => it[0] === value)?.[1]]);
    const full = y.full ?? y.show;
    const tell = (line, height) => {
      const bounds = line.band?.find((it) => it[0] === value);
      return bounds ? `${full(height)} (${full(bounds[1])} to ${full(bounds[2])})` : full(height);
    };
    const seen = found.filter((it) => isNumber(it[1]) && (!y.log || it[1] > 0)).sort((a, b) => b[1] - a[1]);
    tip.replaceChildren(make("b", "", `${x.title} ${x.show(value)}`));
    for (const [line, height] of seen) {
      const group = draw("g", { class: "line", "data-slot": line.slot });
      group.append(draw("circle", { cx: place, cy: up.at(height), r: 3.6 }));
      dots.append(group);
      const row = make("div");
      const swatch = make("i", "swatch");
      swatch.dataset.slot = line.slot;
      row.append(swatch, make("span", "", line.name), make("b", "", tell(line, height)));
      tip.append(row);
    }
    tip.hidden = seen.length === 0;
    const share = place / width;
    tip.style.left = share < 0.5 ? `${share * 100 + 3}%` : "auto";
    tip.style.right = share < 0.5 ? "auto" : `${(1 - share) * 100 + 3}%`;
  });
}
