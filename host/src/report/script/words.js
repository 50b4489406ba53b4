// Numbers, times and elements. What comes from files is only ever text.

/** An element with a class and a text. */
export function make(name, kind = "", text = "") {
  const made = document.createElement(name);
  if (kind) made.className = kind;
  if (text !== "") made.textContent = text;
  return made;
}

/** A time in the unit that suits it, as the program says it. */
export function duration(seconds) {
  if (seconds === null || seconds === undefined) return "";
  if (seconds < 100) return `${seconds < 10 && seconds % 1 ? seconds.toFixed(1) : seconds.toFixed(0)} s`;
  if (seconds < 6000) return `${(seconds / 60).toFixed(0)} min`;
  if (seconds < 72 * 3600) return `${(seconds / 3600).toFixed(1)} h`;
  return `${(seconds / 86400).toFixed(1)} days`;
}

/** A length in the unit that suits it. */
export function bytes(length) {
  if (length === null || length === undefined) return "";
  if (length < 1e3) return `${length} B`;
  if (length < 1e6) return `${(length / 1e3).toFixed(1)} kB`;
  if (length < 1e9) return `${(length / 1e6).toFixed(1)} MB`;
  return `${(length / 1e9).toFixed(1)} GB`;
}

/** A share in percent. */
export function percent(share, digits = 2) {
  return isNumber(share) ? `${(100 * share).toFixed(digits)} %` : "";
}

/** A density: with three significant digits, as it spans orders of magnitude. */
export function density(share) {
  if (!isNumber(share)) return "";
  return `${Number((100 * share).toPrecision(3))} %`;
}

export function number(value, digits = 4) {
  return isNumber(value) ? String(Number(value.toPrecision(digits))) : "";
}

export function isNumber(value) {
  return typeof value === "number" && Number.isFinite(value);
}

/** Whole numbers with a comma at thousands. */
export function grouped(count) {
  return count.toLocaleString("en");
}

export function counted(count, noun) {
  return `${grouped(count)} ${noun}${count === 1 ? "" : "s"}`;
}

/** Seeds as ranges: 0-5, 7. */
export function ranges(seeds) {
  const parts = [];
  for (let at = 0; at < seeds.length; ) {
    let end = at;
    while (end + 1 < seeds.length && seeds[end + 1] === seeds[end] + 1) end += 1;
    parts.push(end > at ? `${seeds[at]}–${seeds[end]}` : `${seeds[at]}`);
    at = end + 1;
  }
  return parts.join(", ");
}

/** A value of a setting as text. */
export function setting(value) {
  if (value === undefined) return "";
  return typeof value === "string" ? value : JSON.stringify(value);
}
