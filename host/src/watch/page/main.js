// Brings the page's parts together: what the server says, what is in view, what is chosen, keys.
import { Chosen, Panel } from "./panel.js";
import { Rows, STATES } from "./rows.js";
import { Server, takeToken } from "./stream.js";
import { Table } from "./table.js";
import { counted, duration, grouped, make } from "./words.js";

const find = (id) => document.getElementById(id);
const rows = new Rows();
const chosen = new Chosen();
const server = new Server(takeToken());
const panel = new Panel(server, rows, chosen, () => heed());
const table = new Table(rows, chosen, () => heed());

/** Something was chosen, or the focus went elsewhere. */
function heed() {
  panel.focus = table.focus;
  table.later();
  clearTimeout(heed.clock);
  heed.clock = setTimeout(() => panel.draw(), 60);
}

/** The rows in view are others. */
function arrange() {
  table.arrange();
  drawStates();
  drawSweeps();
  const all = rows.found;
  const seen = rows.view.length;
  find("count").textContent = seen === all ? counted(all, "run") : `${grouped(seen)} of ${counted(all, "run")}`;
  if (panel.focus !== table.focus) heed();
}

/** Once a frame, however much comes. */
function later() {
  later.frame ??= requestAnimationFrame(() => {
    later.frame = null;
    arrange();
    drawFolder();
  });
}

function changed(changes) {
  const before = panel.shown().map((it) => it.row.stamp + it.row.state).join();
  rows.heed(changes);
  later();
  if (before !== panel.shown().map((it) => it.row.stamp + it.row.state).join()) heed();
}

function connection(state, trouble) {
  const words = { connecting: "connecting", live: "live", lost: "no answer; trying again", refused: "refused" };
  find("stream").textContent = words[state];
  find("stream").dataset.state = state;
  if (state === "refused") complain(trouble);
}

function complain(text) {
  find("trouble").hidden = !text;
  find("trouble").textContent = text ?? "";
}

function drawFolder() {
  const { folder } = rows;
  if (!folder) return;
  const name = folder.runs.split("/").filter(Boolean).at(-1);
  find("folder").textContent = folder.runs;
  document.title = `${rows.counts.failed > 0 ? `(${rows.counts.failed} failed) ` : ""}${name} · Rewind`;
  const running = [...rows.sweeps.values()].filter((it) => it.states.running > 0);
  const left = Math.max(0, ...running.map((it) => it.seconds_left ?? 0));
  find("totals").textContent = folder.is_read ? (left > 0 ? `${duration(left)} left` : "") : `reading: ${counted(rows.all.size, "run")} so far`;
  complain(folder.trouble);
}

function toggle(text, isOn, act, kind = "chip") {
  const button = make("button", kind, text);
  button.type = "button";
  button.setAttribute("aria-pressed", isOn);
  button.addEventListener("click", act);
  return button;
}

/** Puts these in place of what is there, unless it looks the same. */
function replace(place, drawn) {
  const looks = (it) => [it.textContent, it.getAttribute("aria-pressed"), it.querySelector("progress")?.position, it.title];
  const key = JSON.stringify(drawn.map(looks));
  if (place.drawn === key) return;
  place.drawn = key;
  const focus = [...place.children].indexOf(document.activeElement);
  place.replaceChildren(...drawn);
  place.children[focus]?.focus();
}

function drawStates() {
  const there = STATES.filter((state) => rows.counts[state] > 0 || rows.states.has(state));
  replace(find("states"), there.map((state) => {
    const chip = toggle("", rows.states.has(state), () => {
      if (!rows.states.delete(state)) rows.states.add(state);
      arrange();
    });
    chip.dataset.state = state;
    chip.append(make("i", "dot"), make("b", "", grouped(rows.counts[state])), ` ${state}`);
    return chip;
  }));
}

function drawSweeps() {
  const sweeps = [...rows.sweeps.values()].sort((a, b) => a.id.localeCompare(b.id));
  const choose = (id) => () => {
    rows.sweep = rows.sweep === id ? null : id;
    find("grid").scrollTop = 0;
    arrange();
  };
  const drawn = sweeps.map((it) => {
    const button = toggle("", rows.sweep === it.id, choose(it.id), "sweep");
    button.title = it.trouble ?? it.titles.join("\n");
    const done = (it.states.done ?? 0) + (it.states.behind ?? 0);
    const facts = [`${grouped(done)}/${grouped(it.cells)}`];
    if (it.states.failed) facts.push(`${grouped(it.states.failed)} failed`);
    if (it.states.running && it.seconds_left) facts.push(`${duration(it.seconds_left)} left`);
    const bar = make("progress");
    bar.max = it.levels || 1;
    bar.value = it.levels_done;
    bar.setAttribute("aria-label", "finished levels");
    button.append(make("b", "", it.id), make("span", it.states.failed ? "failed" : "", it.trouble ? "cannot be read" : facts.join(" · ")), bar);
    return button;
  });
  find("sweeps").hidden = drawn.length === 0;
  replace(find("sweeps"), drawn);
}

const THEMES = ["auto", "light", "dark"];

function theme(name) {
  find("theme").textContent = name;
  if (name === "auto") delete document.documentElement.dataset.theme;
  else document.documentElement.dataset.theme = name;
  localStorage.setItem("rewind-theme", name);
}

function nextTheme() {
  theme(THEMES[(THEMES.indexOf(find("theme").textContent) + 1) % THEMES.length]);
}

const filter = find("filter");
filter.addEventListener("input", () => {
  rows.filter = filter.value;
  find("grid").scrollTop = 0;
  arrange();
});
filter.addEventListener("keydown", (event) => {
  if (event.key === "Escape") {
    if (filter.value === "") find("grid").focus();
    filter.value = rows.filter = "";
    arrange();
  } else if (event.key === "Enter" || event.key === "ArrowDown") find("grid").focus();
});
find("theme").addEventListener("click", nextTheme);
find("keys").addEventListener("click", () => find("help").showModal());
document.addEventListener("keydown", (event) => {
  const isText = ["INPUT", "SELECT", "TEXTAREA"].includes(event.target.tagName);
  if (isText || event.ctrlKey || event.metaKey || event.altKey || find("help").open) return;
  const tab = panel.tabs[Number(event.key) - 1];
  if (event.key === "/") filter.focus();
  else if (event.key === "?") find("help").showModal();
  else if (event.key === "t") nextTheme();
  else if (event.key === "Escape") {
    chosen.slots.clear();
    heed();
  } else if (tab) panel.open(tab.dataset.tab);
  else return;
  event.preventDefault();
});

theme(THEMES.includes(localStorage.getItem("rewind-theme")) ? localStorage.getItem("rewind-theme") : "auto");
arrange();
panel.draw();
find("grid").focus();
server.follow(changed, connection);
