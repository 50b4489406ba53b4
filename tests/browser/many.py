"""How the page does with many cells: python3 many.py PROGRAM [FOLDER FOR PICTURES]

MANY is the number of cells, 10,000 if it is not set; each is a finished, running or waiting run of two seeds and eight
levels. Prints the server's memory, the time to the first rows and to all of them, and what a scroll and a filter take.
"""

import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import chromium
from watch import SWEEP

CELLS, SEEDS, LEVELS = int(os.environ.get("MANY", "10000")), 2, 8


def write_runs(runs):
    """A sweep as if somebody had run it: seven of ten cells are done, two half way, one was not begun."""
    cells = []
    text = SWEEP.split("[sweep]")[0].replace("levels = 3", f"levels = {LEVELS - 1}")
    for number in range(CELLS):
        name = f"lr={0.001 * (number + 1):.3f}"
        method = ("lrr", "imp", "wr")[number % 3]
        run = f"paper-{method}-{number}-{number:08x}"
        cells.append({
            "name": f"{method}-{name}", "method": method, "values": {"train.optimizer.lr": 0.001 * (number + 1)},
            "seeds": list(range(SEEDS)), "run": f"../{run}",
        })
        done = LEVELS if number % 10 < 7 else LEVELS // 2 if number % 10 < 9 else 0
        if not done:
            continue
        (runs / run).mkdir(parents=True)
        (runs / run / "experiment.toml").write_text(text.replace('"paper"', f'"{method}-{number}"'))
        for seed in range(SEEDS):
            for level in range(done):
                folder = runs / run / f"seed-{seed}" / f"level-{level:02}"
                folder.mkdir(parents=True)
                accuracy = 0.9 - 0.02 * level + 0.0001 * (number % 97) + 0.001 * seed
                (folder / "summary.json").write_text(json.dumps({
                    "seed": seed, "level": level, "weights": 10000, "survivors": int(10000 * 0.5**level),
                    "density": 0.5**level, "train_loss": 0.1, "test_loss": 0.5 - accuracy / 2,
                    "test_correct": int(1000 * accuracy), "test_samples": 1000, "test_accuracy": accuracy,
                    "flips_init": 0.1, "flips_start": 0.05, "flips_previous": None,
                }))
                (folder / "start.safetensors").write_bytes(b"")
                (folder / "done.json").write_text("{}")
    (runs / "paper").mkdir()
    part = {"name": "paper", "title": "Learning rates", "cells": cells, "claims": [], "neuron": None}
    (runs / "paper" / "sweep.json").write_text(json.dumps({"name": "paper", "file": "paper.toml", "parts": [part]}))


def memory(pid):
    """Resident and highest resident MB of a process."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    found = {it.split(":")[0]: it for it in lines if it.startswith(("VmRSS", "VmHWM"))}
    return [int(found[name].split()[1]) / 1024 for name in ("VmRSS", "VmHWM")]


def measure(program, runs, pictures):
    server = subprocess.Popen(
        [program, "watch", runs, "--port", "0", "--json", "--quiet"], stdout=subprocess.PIPE, text=True,
    )
    try:
        started = time.monotonic()
        said = json.loads(server.stdout.readline())
        first = memory(server.pid)[0]
        with chromium.Chromium(chromium.find()) as browser:
            page = browser.page()
            page.open(said["url"])
            rows = "document.querySelectorAll('.row:not([hidden])').length"
            page.wait(f"{rows} > 10")
            paint = page.tell("performance.now()")
            print(f"first rows: {paint:.0f} ms after the page was asked for, while the folder is read")
            count = "parseInt(document.getElementById('count')?.textContent.replaceAll(',', ''))"
            page.wait(f"{count} === {CELLS} && !document.getElementById('totals').textContent.startsWith('reading')", 600)
            print(f"all {CELLS:,} cells: {time.monotonic() - started:.1f} s after the server was started")
            # As whoever opens the page later sees it.
            second = browser.page()
            second.open(said["url"])
            second.wait(f"{count} === {CELLS}")
            print(f"all cells, server up: {second.tell('performance.now()'):.0f} ms after the page was asked for")
            frame = """(async () => {
                const grid = document.getElementById('grid'); const times = [];
                for (let turn = 0; turn < 120; turn += 1) {
                    const before = performance.now();
                    grid.scrollTop = (turn * 7919 * 28) % (grid.scrollHeight - 800);
                    await new Promise(requestAnimationFrame);
                    table.offsetHeight; times.push(performance.now() - before);
                }
                times.sort((a, b) => a - b); return [times[60], times[118]];
            })()"""
            middle, worst = second.tell(frame.replace("table.offsetHeight", "grid.firstElementChild.offsetHeight"))
            print(f"a jump to any place until it is drawn: {middle:.0f} ms, 99 of 100 within {worst:.0f} ms")
            elements = second.tell("document.querySelectorAll('*').length")
            print(f"elements of the page: {elements}")
            for text in ("lr=4.2", "state:done accuracy>0.8", "imp -0.001"):
                took = second.tell(f"""(() => {{
                    const filter = document.getElementById('filter'); filter.value = {json.dumps(text)};
                    const before = performance.now(); filter.dispatchEvent(new Event('input'));
                    document.body.offsetHeight; return performance.now() - before;
                }})()""")
                print(f"filter {text!r}: {took:.0f} ms, {second.tell('document.getElementById(`count`).textContent')}")
            took = second.tell("""(() => {
                const before = performance.now(); document.querySelector('[data-field=accuracy] button').click();
                document.body.offsetHeight; return performance.now() - before;
            })()""")
            print(f"sort: {took:.0f} ms")
            second.tell("(filter => { filter.value = ''; filter.dispatchEvent(new Event('input')) })(document.getElementById('filter'))")
            for _ in range(3):
                second.press(" ")
                second.press("ArrowDown")
            second.wait("document.querySelectorAll('.plot svg').length > 0")
            if pictures:
                time.sleep(0.3)
                second.picture(pictures / "many.png")
            print(f"heap of the page: {second.tell('performance.memory.usedJSHeapSize') / 1e6:.0f} MB")
            assert page.complaints() == second.complaints() == [], page.complaints()
        before = sum(os.times()[:2]), cpu(server.pid)
        time.sleep(20)
        print(f"the server's processor time as nothing changes: {(cpu(server.pid) - before[1]) / 20 * 100:.1f} %")
        now, most = memory(server.pid)
        print(f"memory of the server: {now:.0f} MB, at most {most:.0f} MB; {first:.0f} MB before it looked")
    finally:
        server.send_signal(signal.SIGINT)
        server.wait(20)
        server.stdout.close()


def cpu(pid):
    """Seconds of processor time of a process."""
    fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


if __name__ == "__main__":
    folder = Path(tempfile.mkdtemp(prefix="rewind-many-"))
    try:
        (folder / "runs").mkdir()
        write_runs(folder / "runs")
        measure(Path(sys.argv[1]).resolve(), folder / "runs", Path(sys.argv[2]).resolve() if len(sys.argv) > 2 else None)
    finally:
        shutil.rmtree(folder)
