"""The page beside a sweep of many running cells: python3 live.py PROGRAM [FOLDER FOR PICTURES]

LIVE is the number of cells, 200 if it is not set; two processes share them out. The page is opened when a tenth of them
is done. Prints when its first rows came, how far it is behind the files, and what it costs beside the sweep.
"""

import json
import os
import re
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import chromium
from many import cpu, memory
from watch import SWEEP

CELLS = int(os.environ.get("LIVE", "200"))


def write_sweep(file):
    """One cell for each learning rate, each of two levels and done within a second."""
    rates = [round(0.001 * (number + 1), 3) for number in range(CELLS)]
    text = SWEEP.split("[sweep]")[0].replace("levels = 3", "levels = 1").replace("seeds = [0, 1]", "seeds = [0]")
    file.write_text(f'{text}[sweep]\ntitle = "Many rates"\ngrid = {{ "train.optimizer.lr" = {rates} }}\n')


def done(runs):
    """Cells whose last level is finished, by their files."""
    return sum(1 for _ in runs.glob("paper-*/seed-0/level-01/done.json"))


def look(page, runs, claimers):
    """How many cells the page was behind, second by second, until all processes have ended."""
    behind = []
    while any(claimer.poll() is None for claimer in claimers):
        shown = re.search(rf"(\d+)/{CELLS}\b", page.tell("document.getElementById('sweeps').textContent"))
        behind.append(max(0, done(runs) - int(shown[1])))
        time.sleep(1)
    return behind


def main(program, pictures):
    with tempfile.TemporaryDirectory(prefix="rewind-live-") as name:
        folder = Path(name)
        runs, environment = folder / "runs", {**os.environ, "REWIND_CONFIG": str(folder / "none.toml")}
        write_sweep(folder / "paper.toml")
        command = [program, "run", folder / "paper.toml", "--runs", runs, "--claim", "--quiet", "--threads", "1"]
        start = time.monotonic()
        claimers = [
            subprocess.Popen(command, env=environment, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
            for _ in range(2)
        ]
        while done(runs) < CELLS / 10:
            time.sleep(0.05)
        server = subprocess.Popen(
            [program, "watch", runs, "--port", "0", "--json", "--quiet"], stdout=subprocess.PIPE, text=True,
        )
        try:
            said = json.loads(server.stdout.readline())
            with chromium.Chromium(chromium.find()) as browser:
                page = browser.page()
                page.open(said["url"])
                page.wait("document.querySelectorAll('.row:not([hidden])').length > 10")
                print(f"first rows: {page.tell('performance.now()'):.0f} ms after the page was asked for")
                page.wait(f"document.getElementById('sweeps').textContent.includes('/{CELLS}')")
                before = time.monotonic(), cpu(server.pid)
                if pictures:
                    page.press("ArrowDown")
                    page.press(" ")
                    time.sleep(2)
                    page.picture(pictures / "live.png")
                behind = look(page, runs, claimers)
                took = time.monotonic() - before[0]
                assert [claimer.returncode for claimer in claimers] == [0, 0]
                ended = time.monotonic()
                page.wait(f"document.getElementById('sweeps').textContent.includes('{CELLS}/{CELLS}')")
                print(f"the page shows that all are done {time.monotonic() - ended:.1f} s after the last process ended")
                behind.sort()
                print(f"cells that the page was behind: {behind[len(behind) // 2]}, at most {behind[-1]}")
                share = (cpu(server.pid) - before[1]) / took * 100
                print(f"the server's processor time beside the sweep: {share:.1f} %, memory {memory(server.pid)[0]:.0f} MB")
                print(f"{CELLS} cells took {ended - start:.0f} s")
                assert page.complaints() == [], page.complaints()
        finally:
            server.send_signal(signal.SIGINT)
            server.wait(20)
            server.stdout.close()
            for claimer in claimers:
                claimer.kill()
                claimer.wait()


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]) if len(sys.argv) > 2 else None)
