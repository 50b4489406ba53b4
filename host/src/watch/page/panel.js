// What is shown of the chosen runs: curves, levels, settings, log.
import { Curves, levelTable } from "./curves.js";
import { held } from "./table.js";
import { bytes, counted, duration, make, setting } from "./words.js";

/** So many runs are laid over each other, as many as there are colours. */
export const SLOTS = 8;
/** Time between two looks at the log of a run that is at work. */
const LOG = 5000;

/** The runs that are chosen, each with a colour that it keeps. */
export class Chosen {
  constructor() {
    this.slots = new Map();
  }

  slot(id) {
    return this.slots.get(id) ?? null;
  }

  toggle(id) {
    if (this.slots.delete(id)) return;
    const taken = new Set(this.slots.values());
    const free = [...Array(SLOTS).keys()].find((slot) => !taken.has(slot));
    // The first one makes room.
    if (free === undefined) {
      const [[first, slot]] = this.slots;
      this.slots.delete(first);
      this.slots.set(id, slot);
    } else this.slots.set(id, free);
  }

  only(id) {
    this.slots.clear();
    this.slots.set(id, 0);
  }
}

export class Panel {
  constructor(server, rows, chosen, heed) {
    Object.assign(this, { server, rows, chosen, heed });
    this.tab = "curves";
    this.curves = new Curves();
    this.known = new Map();
    this.all = false;
    this.place = document.getElementById("shown");
    this.names = document.getElementById("chosen");
    this.tabs = [...document.querySelectorAll("#tabs button")];
    for (const tab of this.tabs) tab.addEventListener("click", () => this.open(tab.dataset.tab));
    setInterval(() => {
      if (this.tab === "log" && !document.hidden && this.shown().some((it) => it.row.state === "running")) this.draw(true);
    }, LOG);
  }

  open(tab) {
    this.tab = tab;
    this.place.scrollTop = 0;
    this.draw();
  }

  /** The chosen runs that there are, or else the one that the table's focus is on. */
  shown() {
    const ids = this.chosen.slots.size > 0 ? [...this.chosen.slots] : [[this.focus, 0]];
    const found = ids.map(([id, slot]) => ({ id, slot, row: this.rows.all.get(id) }));
    return found.filter((it) => it.row).map((it) => ({ ...it, name: this.rows.nameOf(it.row) }));
  }

  /** Asks for what is needed and not known as it stands now; `anew` asks again. */
  async ask(question, shown, anew) {
    await Promise.all(shown.map(async (it) => {
      const key = `${question} ${it.id}`;
      const known = this.known.get(key);
      if (known && known.stamp === it.row.stamp && !anew) {
        it[question] = known.value;
        return;
      }
      try {
        it[question] = await this.server.ask(question, it.id);
        this.known.set(key, { stamp: it.row.stamp, value: it[question] });
      } catch (error) {
        it.trouble = error.message;
      }
    }));
    // What is far from what is looked at need not be kept.
    while (this.known.size > 200) this.known.delete(this.known.keys().next().value);
  }

  async draw(anew = false) {
    for (const tab of this.tabs) tab.setAttribute("aria-selected", tab.dataset.tab === this.tab);
    const turn = (this.turn = (this.turn ?? 0) + 1);
    const shown = this.shown();
    this.drawNames(shown);
    if (shown.length === 0) {
      this.place.replaceChildren(make("p", "none", "Choose a run: its curves, levels, settings and log are shown here."));
      return;
    }
    const question = { curves: this.curves.wantsEpochs ? "epochs" : "run", levels: "run", settings: "settings", log: "logs" }[this.tab];
    await this.ask(question, shown, anew);
    // Something else was asked for meanwhile.
    if (turn !== this.turn) return;
    const troubles = shown.filter((it) => it.trouble).map((it) => make("p", "trouble", `${it.name}: ${it.trouble}`));
    const body = make("div");
    const again = () => this.draw();
    if (this.tab === "curves") this.curves.draw(body, shown, again);
    if (this.tab === "levels") this.drawLevels(body, shown);
    if (this.tab === "settings") this.drawSettings(body, shown);
    if (this.tab === "log") this.drawLogs(body, shown);
    const { scrollTop } = this.place;
    this.place.replaceChildren(...troubles, body);
    this.place.scrollTop = scrollTop;
  }

  drawNames(shown) {
    const items = shown.map((it) => {
      const item = make("span", "name");
      const swatch = make("i", "swatch");
      swatch.dataset.slot = it.slot;
      item.append(swatch, make("span", "", it.name));
      item.title = it.id;
      if (this.chosen.slots.size > 0) {
        const button = make("button", "", "×");
        button.type = "button";
        button.setAttribute("aria-label", `choose ${it.name} no longer`);
        button.addEventListener("click", () => {
          this.chosen.toggle(it.id);
          this.heed();
        });
        item.append(button);
      }
      return item;
    });
    this.names.replaceChildren(...items);
  }

  drawLevels(body, shown) {
    for (const { name, row, run } of shown) {
      if (shown.length > 1) body.append(make("h3", "", name));
      if (run) body.append(levelTable(run, row));
      for (const seed of run?.seeds ?? []) {
        if (seed.trouble) body.append(make("p", "trouble", seed.trouble));
      }
    }
  }

  drawSettings(body, shown) {
    const there = shown.filter((it) => it.settings);
    for (const it of there) {
      if (it.settings.trouble) body.append(make("p", "trouble", `${it.name}: ${it.settings.trouble}`));
    }
    const keys = [...new Set(there.flatMap((it) => Object.keys(it.settings.settings)))].sort();
    const differs = (key) => new Set(there.map((it) => setting(it.settings.settings[key]))).size > 1;
    const several = there.length > 1;
    const listed = several && !this.all ? keys.filter(differs) : keys;
    if (several) {
      const label = make("label", "note");
      const box = make("input");
      box.type = "checkbox";
      box.checked = this.all;
      box.addEventListener("change", () => {
        this.all = box.checked;
        this.draw();
      });
      label.append(box, " also those that are the same");
      body.append(label);
    }
    const table = make("table", "settings");
    const head = make("tr");
    head.append(make("th", "", "setting"));
    for (const it of there) {
      const cell = make("th");
      const swatch = make("i", "swatch");
      swatch.dataset.slot = it.slot;
      cell.append(swatch, make("span", "", it.name));
      head.append(cell);
    }
    const [top, rows] = [make("thead"), make("tbody")];
    top.append(head);
    for (const key of listed) {
      const line = make("tr", several && differs(key) ? "differs" : "");
      line.append(make("th", "", key));
      for (const it of there) line.append(make("td", "", setting(it.settings.settings[key])));
      rows.append(line);
    }
    table.append(top, rows);
    const wide = make("div", "wide");
    wide.append(listed.length > 0 ? table : make("p", "none", several ? "Their settings are the same." : "Its settings cannot be read."));
    body.append(wide);
    if (there.length === 1 && there[0].settings.text) {
      const [text] = there;
      const details = make("details");
      details.append(make("summary", "", "experiment.toml"), make("pre", "", text.settings.text));
      body.append(details);
    }
  }

  drawLogs(body, shown) {
    for (const { name, row, logs } of shown) {
      if (shown.length > 1) body.append(make("h3", "", name));
      const facts = make("dl");
      const add = (term, text, kind) => text && facts.append(make("dt", "", term), make("dd", kind, text));
      add("folder", row.id);
      add("state", row.state);
      add("at work", held(row));
      add("why", row.note, row.state === "failed" ? "trouble" : "");
      add("failures", row.failures ? counted(row.failures, "time") : "");
      add("cannot be read", row.trouble, "trouble");
      add("left", ["done", "behind"].includes(row.state) ? "" : duration(row.seconds_left));
      body.append(facts);
      const there = logs?.logs ?? [];
      for (const log of there) {
        body.append(make("p", "note", `${log.path}${log.bytes ? `, ${bytes(log.bytes)}` : ""}`));
        body.append(log.trouble ? make("p", "trouble", log.trouble) : make("pre", "log", log.text || "(empty)"));
      }
      if (there.length === 0) {
        const why = row.cells.length > 0 ? "It has not said anything yet." : "A run that was started by itself says what it has to say where it was started.";
        body.append(make("p", "none", why));
      }
    }
  }
}
