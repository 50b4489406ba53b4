import contextlib
import io
import json
import os
import shutil
import subprocess
import sys
import tempfile
import unittest
from pathlib import Path
from unittest import mock

import rewind
from rewind.lock import writer
from rewind.progress import Progress

from . import made
from .made import WithProgram, needs

def claim(run: Path, number: int, **owner: object) -> None:
    """Makes a generation of a run's lock, as the program does."""
    folder = run / "lock" / f"{number:06}"
    folder.mkdir(parents=True)
    (folder / "owner.json").write_text(json.dumps(owner))


def here(pid: int, started: int) -> dict:
    """What the program writes of a process of this machine."""
    boot, host = (Path(f"/proc/sys/kernel/{it}").read_text().strip() for it in ("random/boot_id", "hostname"))
    namespace = os.readlink("/proc/self/ns/pid")
    return dict(pid=pid, host=host, started=started, boot=boot, namespace=namespace, user=os.getuid())


class Runs(WithProgram):
    def test_seeds_levels_and_records_are_those_that_the_program_shows(self) -> None:
        run = made.run()
        self.assertEqual((run.seeds, run.levels(), run.levels(3)), ([0, 3], [0, 1, 2], [0, 1, 2]))
        shown = run.show()
        self.assertEqual(shown["levels"], 3)
        self.assertEqual(
            run.summary("rows").column("test_accuracy"), [it["test_accuracy"] for it in shown["summaries"]]
        )
        for row, summary in zip(run.summary("rows"), shown["summaries"]):
            self.assertEqual(row, summary)
        metrics = run.metrics("rows")
        self.assertEqual(
            [(it["seed"], it["level"], it["epoch"]) for it in metrics[:3]], [(0, 0, 0), (0, 0, 1), (0, 1, 0)]
        )
        self.assertEqual(len(metrics), 2 * 3 * 2)
        layers = run.layers("rows")
        self.assertEqual([it["layer"] for it in layers[:2]], ["fc1.weight", "fc2.weight"])
        self.assertEqual(len(layers), 2 * 3 * 2)
        self.assertEqual(run.classes("rows"), [])
        signs = run.signs("rows")
        self.assertEqual(len(signs), 2 * 3 * 2 * 2)
        self.assertEqual(
            list(signs[0]), ["seed", "level", "epoch", "layer", "survivors", "crossed_epoch", "crossed_start"]
        )
        self.assertEqual(
            [(it["epoch"], it["layer"]) for it in signs[:3]], [(0, "fc1.weight"), (0, "fc2.weight"), (1, "fc1.weight")]
        )
        self.assertEqual([it["crossed_epoch"] for it in signs[:2]], [it["crossed_start"] for it in signs[:2]])
        self.assertEqual([it["survivors"] for it in signs[-2:]], [it["survivors"] for it in layers[-2:]])

    def test_levels_of_versions_without_signs_have_none(self) -> None:
        path = self.copy()
        done = path / "seed-0/level-01/done.json"
        value = json.loads(done.read_text())
        del value["digests"]["signs.jsonl"]
        done.write_text(json.dumps(value))
        self.assertEqual(rewind.load(path).level(1, 0).signs(), [])

    @needs("numpy")
    def test_masks_and_weights_agree_with_the_records(self) -> None:
        run = made.run()
        for seed in run.seeds:
            for level in run.levels(seed):
                masks, end = run.mask(level, seed), run.weights(level, seed)
                rows = [it for it in run.layers("rows") if (it["seed"], it["level"]) == (seed, level)]
                for row in rows:
                    mask = masks[row["layer"]]
                    self.assertEqual((str(mask.dtype), mask.size), ("bool", row["size"]))
                    self.assertEqual(int(mask.sum()), row["survivors"])
                    self.assertTrue((end[row["layer"]][~mask] == 0).all())
        self.assertEqual(run.mask(2, 0)["fc1.weight"].shape, (8, 40))
        # Half of 400 weights survive a level.
        self.assertEqual(
            [sum(int(it.sum()) for it in run.mask(level).values()) for level in (0, 1, 2)], [400, 200, 100]
        )
        initial = run.initial(3)
        self.assertTrue((initial["fc1.weight"] == run.weights(0, 3, at="start")["fc1.weight"]).all())
        self.assertFalse((initial["fc1.weight"] == run.initial(0)["fc1.weight"]).all())
        self.assertTrue((run.mask(-1)["fc1.weight"] == run.mask(2, seed=0)["fc1.weight"]).all())

    def test_a_run_is_found_by_path_by_name_and_without_its_identity(self) -> None:
        run = made.run()
        for name in (run.path, str(run.path), run.name, "tiny"):
            self.assertEqual(rewind.load(name, runs=run.path.parent).name, run.name)
        with self.assertRaisesRegex(rewind.NoRun, f"there is no run tinny; runs in .*{run.name}"):
            rewind.load("tinny", runs=run.path.parent)

    def test_what_is_not_there_is_answered_with_what_is(self) -> None:
        run = made.run()
        with self.assertRaisesRegex(rewind.NoRun, "has no seed 1; it has 0, 3"):
            run.level(0, seed=1)
        for level in (3, -4):
            with self.assertRaisesRegex(rewind.Unfinished, "of seed 0 of .* is not finished; it has levels 0 to 2"):
                run.level(level)
        with self.assertRaisesRegex(rewind.Damaged, "step-9.safetensors is no file of this level: done.json"):
            run.level(0).tensors("step-9.safetensors")

    def test_a_missing_file_is_named(self) -> None:
        path = self.copy()
        for name, read in [
            ("mask.safetensors", lambda level: level.mask()),
            ("end.safetensors", lambda level: level.weights()),
            ("metrics.jsonl", lambda level: level.metrics()),
            ("summary.json", lambda level: level.summary()),
        ]:
            (path / "seed-3/level-01" / name).unlink()
            with self.assertRaisesRegex(rewind.Damaged, f"level-01/{name} is missing, although done.json"):
                read(rewind.load(path).level(1, 3))

    def test_records_that_are_cut_off_are_damaged(self) -> None:
        path = self.copy()
        file = path / "seed-0/level-02/metrics.jsonl"
        whole = file.read_bytes()
        first = len(whole.splitlines(keepends=True)[0])
        level = rewind.load(path).level(2, 0)
        for length in range(1, len(whole)):
            file.write_bytes(whole[:length])
            if length == first:
                continue  # a file of one line less is whole; that its digest is another, `verify` says
            with self.assertRaises(rewind.Damaged, msg=str(length)):
                level.metrics()
        self.assertIn("metrics.jsonl", str(rewind.load(path).verify()["problems"]))

    @needs("numpy")
    def test_masks_of_other_numbers_than_0_and_1_are_damaged(self) -> None:
        path = self.copy()
        file = path / "seed-0/level-02/mask.safetensors"
        whole = bytearray(file.read_bytes())
        whole[-1] = 2
        file.write_bytes(whole)
        with self.assertRaisesRegex(rewind.Damaged, "other numbers than 0 and 1"):
            rewind.load(path).mask(2)

    def test_a_run_that_is_half_deleted_says_what_is_gone(self) -> None:
        path = self.copy()
        shutil.rmtree(path / "seed-0/level-01")
        with self.assertRaisesRegex(rewind.Damaged, "has level 2, but no finished level 1: it is half deleted"):
            rewind.load(path).summary("rows")
        (path / "identity.json").unlink()
        with self.assertRaisesRegex(rewind.Damaged, "identity.json is missing: .* is half deleted"):
            rewind.load(path)
        for seed in (0, 3):
            shutil.rmtree(path / f"seed-{seed}")
        with self.assertRaisesRegex(rewind.Damaged, "neither identity.json nor sweep.json: it is half deleted"):
            rewind.load(path)

    def test_a_run_of_a_later_version_is_refused(self) -> None:
        path = self.copy()
        done = path / "seed-0/level-02/done.json"
        done.write_text(json.dumps({**json.loads(done.read_text()), "encoding": "bits"}))
        with self.assertRaisesRegex(rewind.LaterVersion, "done.json has encoding, .* a later one wrote the run"):
            rewind.load(path).metrics("rows")
        file = path / "identity.json"
        identity = json.loads(file.read_text())
        identity["canonical"]["schema"] = 2
        file.write_text(json.dumps(identity))
        with self.assertRaisesRegex(rewind.LaterVersion, "schema 2, expected 1: a later version wrote the run"):
            rewind.load(path)

    def test_a_list_that_leads_out_of_the_folder_is_damage(self) -> None:
        path = self.copy()
        file = path / "seed-0/level-02/done.json"
        done = json.loads(file.read_text())
        done["digests"]["../../identity.json"] = "00"
        file.write_text(json.dumps(done))
        with self.assertRaisesRegex(rewind.Damaged, "expected names of files beside it"):
            rewind.load(path).level(2).file("../../identity.json")

    def test_a_run_that_is_being_written_names_the_writer_and_gives_what_is_finished(self) -> None:
        path = self.copy()
        (path / "seed-0/level-02/done.json").unlink()
        run = rewind.load(path)
        self.assertIsNone(run.writer)
        shutil.rmtree(path / "lock", ignore_errors=True)
        self.assertIsNone(run.writer)
        claim(path, 7, pid=12, host="elsewhere")
        who = "process 12 on elsewhere"
        self.assertEqual(str(writer(path)), who)
        with self.assertRaisesRegex(rewind.Unfinished, f"it has levels 0 to 1, and {who} trains it at the moment"):
            run.level(2)
        self.assertEqual(len(run.summary("rows")), 2 + 3)
        (path / "seed-0/level-01/mask.safetensors").unlink()
        with self.assertRaisesRegex(rewind.Damaged, f"{who} writes the run at the moment: read it again later"):
            run.mask(1)
        (path / "lock/000007/released").touch()
        self.assertIsNone(run.writer)

    @unittest.skipUnless(sys.platform == "linux", "processes of this machine are known on Linux")
    def test_a_process_of_this_machine_that_ended_writes_nothing(self) -> None:
        path = self.copy()
        shutil.rmtree(path / "lock", ignore_errors=True)
        started = int(Path("/proc/self/stat").read_text().rpartition(")")[2].split()[19])
        claim(path, 1, **here(os.getpid(), started))
        self.assertEqual(writer(path), (os.getpid(), os.uname().nodename))
        # Another one had the same number before.
        claim(path, 2, **here(os.getpid(), started - 1))
        self.assertIsNone(writer(path))
        ended = subprocess.Popen([sys.executable, "-c", ""])
        ended.wait()
        claim(path, 10, **here(ended.pid, started))
        self.assertIsNone(writer(path))

    def test_a_folder_of_dense_levels_is_read_like_a_run(self) -> None:
        run = made.run()
        dense = rewind.load(run.path.parent / run.identity["dense"])
        self.assertEqual((dense.seeds, dense.levels()), ([0, 3], [0]))
        self.assertEqual(dense.summary("rows"), [it for it in run.summary("rows") if it["level"] == 0])


class StoppedCells(unittest.TestCase):
    def setUp(self) -> None:
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = Path(folder.name)
        cells = [
            {"name": name, "method": name, "values": {}, "seeds": [0, 1], "run": f"../{name}"} for name in ("lrr", "imp")
        ]
        parts = [{"name": "small", "title": "small", "cells": cells, "claims": [], "neuron": None}]
        (self.folder / "sweep.json").write_text(json.dumps({"name": "small", "file": "small.toml", "parts": parts}))

    def test_a_cell_says_behind_whom_it_was_stopped(self) -> None:
        sweep = rewind.Sweep(self.folder)
        self.assertEqual(sweep.rungs, [])
        self.assertIsNone(sweep.cell("imp").stopped)
        behind = {"cell": "imp", "difference": -0.1, "low": -0.2, "high": -0.05, "seeds": [0, 1]}
        rung = {"level": 3, "best": "lrr", "confidence": 0.95, "stopped": [behind]}
        (self.folder / "stopped.json").write_text(json.dumps({"rungs": [rung]}))
        stopped = sweep.cell("imp").stopped
        self.assertEqual((stopped["level"], stopped["behind"], stopped["high"]), (3, "lrr", -0.05))
        self.assertIsNone(sweep.cell("lrr").stopped)
        (self.folder / "stopped.json").write_text("{")
        with self.assertRaisesRegex(rewind.Damaged, "stopped.json is damaged"):
            sweep.rungs

    def test_progress_counts_a_level_once_and_leaves_out_those_of_stopped_cells(self) -> None:
        progress = Progress(True)
        cells = [{"cell": name, "run": name, "levels": 4, "seeds": [0, 1]} for name in ("lrr", "imp")]
        said = io.StringIO()
        with contextlib.redirect_stderr(said), mock.patch("rewind.progress._tqdm", return_value=None):
            progress.event({"event": "sweep-started", "sweep": "small", "cells": cells})
            for kind in ("level-done", "level-found"):
                for name in ("lrr", "imp"):
                    for seed in (0, 1):
                        summary = {"seed": seed, "level": 0, "density": 1.0, "test_accuracy": 0.5}
                        progress.event({"event": kind, "cell": name, "summary": summary})
            progress.event({"event": "cell-stopped", "cell": "imp", "level": 0, "behind": "lrr", "difference": -0.1})
            summary = {"seed": 0, "level": 1, "density": 0.5, "test_accuracy": 0.5}
            progress.event({"event": "level-done", "cell": "lrr", "summary": summary})
        lines = said.getvalue().splitlines()
        self.assertIn("stopped at level 0, 10.00 points behind lrr", lines[-2])
        self.assertTrue(lines[-1].startswith("5 of 10  "), lines)


class Sweeps(WithProgram):
    def test_cells_have_methods_values_and_runs(self) -> None:
        sweep = rewind.load("tiny-sweep", runs=made.sweep().path.parent)
        self.assertEqual(len(sweep), 4)
        self.assertEqual({cell.method for cell in sweep}, {"lrr", "imp"})
        self.assertEqual({cell.values["train.epochs"] for cell in sweep}, {1, 2})
        for cell in sweep:
            self.assertEqual(cell.run.levels(), [0, 1, 2])
            self.assertEqual(sweep[cell.name].path, cell.run.path)
        with self.assertRaisesRegex(rewind.NoRun, "several cells `lrr`: say which of"):
            sweep["lrr"]
        with self.assertRaisesRegex(rewind.NoRun, "no cell `wr`; it has"):
            sweep["wr"]

    def test_rows_say_whose_they_are(self) -> None:
        sweep = made.sweep()
        rows = sweep.summary("rows")
        self.assertEqual(len(rows), 4 * 2 * 3)
        self.assertEqual(rows.columns[:5], ["part", "cell", "method", "train.epochs", "seed"])
        of_one = [it["test_accuracy"] for it in rows if it["cell"] == sweep.cells[1].name]
        self.assertEqual(of_one, sweep.cells[1].run.summary("rows").column("test_accuracy"))

    def test_a_comparison_has_the_programs_numbers(self) -> None:
        a, b = made.sweep().cells[0], made.sweep().cells[-1]
        compared = rewind.compare(a, b, frame="rows")
        mean = lambda cell, level: sum(
            it["test_accuracy"] for it in cell.run.summary("rows") if it["level"] == level
        ) / len(cell.seeds)
        for row in compared.levels:
            level = row["level"]
            self.assertAlmostEqual(row["mean_above"], 100 * mean(a, level), places=3)
            self.assertAlmostEqual(row["difference"], 100 * (mean(a, level) - mean(b, level)), places=3)
            self.assertEqual(row["seeds"], [0, 3])
        by_run = rewind.compare(a.run, b.run, frame="rows")
        self.assertEqual(by_run.levels, compared.levels)
        with self.assertRaisesRegex(rewind.ProgramFailed, "there is no run nope"):
            rewind.compare(a, "nope")

    def test_the_best_needs_validation_and_the_program_says_so(self) -> None:
        with self.assertRaisesRegex(rewind.ProgramFailed, "no run with a validation accuracy") as raised:
            made.sweep().best()
        self.assertEqual(raised.exception.exit, 2)

    def test_a_cell_that_has_not_begun_is_unfinished(self) -> None:
        folder = self.folder / "tiny-sweep"
        shutil.copytree(made.sweep().path, folder)
        sweep = rewind.load(folder)
        self.assertEqual(sweep.summary("rows"), [])
        with self.assertRaisesRegex(rewind.Unfinished, "has not begun"):
            sweep.cells[0].run
        (folder / "sweep.json").write_text("{")
        with self.assertRaisesRegex(rewind.Damaged, "sweep.json is damaged"):
            rewind.load(folder)


if __name__ == "__main__":
    unittest.main()
