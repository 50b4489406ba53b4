#!/usr/bin/env python3
"""Looks at a GPU: whether runs on it have the same bytes each time, however they came about, and whether all that is
shipped trains there.

    check.py PROGRAM [--device cuda:0|cpu] [--short] [--only TEXT] [--out FOLDER]
                     [--jobs N] [--limit SECONDS]

Ends with a table and with 0 if nothing failed, else with 1. Where there is no GPU it says so and ends with 0. With
`--device cpu` the same steps are taken on the CPU, to try the script itself; `--short` makes them small. `--out` keeps
the runs, what was said of them, and `table.txt`. It takes Python 3.10 and nothing else.
"""

import argparse
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

sys.dont_write_bytecode = True
from checks import bits, breadth, kernels, runs, table  # noqa: E402
from checks.program import Program, Stopped  # noqa: E402
from checks.verdicts import Differs  # noqa: E402

ROOT = Path(__file__).resolve().parents[2]


def options():
    parser = argparse.ArgumentParser(description="Compares runs on a GPU with each other.")
    parser.add_argument("program", type=Path, help="the built program: target/release/host")
    parser.add_argument("--device", default="cuda:0", help="`cuda:N`, or `cpu` for a dry run of the same steps")
    parser.add_argument("--short", action="store_true", help="fewer rows and smaller networks")
    parser.add_argument("--only", action="append", metavar="TEXT", help="rows with this in their names; may be repeated")
    parser.add_argument("--out", type=Path, help="keep runs, logs and table.txt in this folder")
    parser.add_argument("--jobs", type=int, help="steps side by side; half of the processors on a GPU, else all")
    parser.add_argument("--limit", type=float, default=120, help="seconds after which a step is ended [120]")
    return parser.parse_args()


def gpu(program):
    """What is to be said of the GPU, and an exit code instead if there is none."""
    number = program.device.partition(":")[2] or "0"
    query = ["nvidia-smi", "-i", number, "--query-gpu=name,driver_version,memory.total", "--format=csv,noheader"]
    try:
        asked = subprocess.run(query, capture_output=True, text=True, timeout=60)
        card = asked.stdout.strip() if asked.returncode == 0 else ""
    except (OSError, subprocess.TimeoutExpired):
        card = ""
    plan = ["plan", ROOT / "experiments/lrr.toml", "--device", program.device]
    ended = program.call([program.path, *plan])
    if ended.code == 0:
        return card or program.device, None
    reason = ended.err.partition("'--device <DEVICE>': ")[2].splitlines()
    if not reason:
        return f"the program cannot start: {ended.last_lines()}", 1
    # A GPU that the program does not see is something else than none.
    return (f"{card} is here, but {reason[0]}", 1) if card else (f"nothing to check: {reason[0]}", 0)


def check(program, folder, options):
    """All rows, and then what `verify` finds in all of the runs."""
    made = runs.Runs(program, folder)
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    jobs = options.jobs or max(1, cores // 2 if program.is_on_gpu else cores)
    nets = runs.of_the_house(ROOT, folder, options.short)
    rows = bits.rows(made, nets, options.short) + bits.file_rows(made, runs.of_files(folder, options.short))
    if program.is_on_gpu:
        rows.insert(0, ("kernels", lambda: kernels.tested(program, ROOT)))
    # Whoever asks for rows by their names gets all that are called so.
    is_few = options.short and not options.only
    rows += breadth.model_rows(made, ROOT, folder, options.short, is_few)
    rows += breadth.experiment_rows(made, ROOT, options.short, is_few)
    rows += breadth.taker_rows(made, nets[0])
    if options.only:
        rows = [row for row in rows if any(it in row[0] for it in options.only)]
    results = table.side_by_side(rows, jobs, program)
    # They compute on the CPU, each with one thread.
    parts = min(options.jobs or cores, len(made.made))
    verified = [(f"verify {it + 1} of {parts}", lambda it=it: bits.verified(made, it, parts)) for it in range(parts)]
    return results + (table.side_by_side(verified, parts, program) if verified else [])


def main():
    chosen = options()
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    folder = chosen.out or Path(tempfile.mkdtemp(prefix="rewind-cuda-"))
    folder.mkdir(parents=True, exist_ok=True)
    if any(folder.iterdir()):
        # What an earlier program left would be gone on with, and not made.
        print(f"check-cuda: {folder} is not empty; name another folder in --out", file=sys.stderr)
        return 2
    program = Program(chosen.program.resolve(), chosen.device, chosen.limit, folder / "no-configuration.toml")
    start, keep = time.monotonic(), chosen.out is not None
    try:
        head, code = (chosen.device, None) if not program.is_on_gpu else gpu(program)
        if code is not None:
            print(f"check-cuda: {head}")
            return code
        results = check(program, folder.resolve(), chosen)
        text = table.table(results, f"on {head}", time.monotonic() - start)
        print(f"\n{text}", end="")
        (folder / "table.txt").write_text(text)
        failed = any(it.verdict == table.FAILED for it in results)
        keep = keep or failed
        if failed:
            print(f"runs and logs: {folder}")
        return int(failed)
    except Differs as error:
        print(f"check-cuda: {error}", file=sys.stderr)
        return 1
    except (KeyboardInterrupt, Stopped):
        print("check-cuda: interrupted", file=sys.stderr)
        return 130
    finally:
        program.stop()
        if not keep:
            shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    sys.exit(main())
