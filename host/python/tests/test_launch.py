import os
import signal
import subprocess
import sys
import time
import unittest
import warnings
from pathlib import Path

import rewind

from rewind.lock import writer

from . import made
from .made import WithProgram

PACKAGE = Path(rewind.__file__).parents[1]

# Runs the experiment that it is given and says when a level is done; ends with what it got.
DRIVER = """
import sys, rewind
def say(event):
    if event["event"] == "level-done" and event["summary"]["level"] == 1:
        print("level 1 is done", flush=True)
try:
    rewind.run(sys.argv[1], runs=sys.argv[2], threads=1, progress=False, on_event=say)
    print("finished", flush=True)
except KeyboardInterrupt as error:
    print(type(error).__name__, error.path, flush=True)
"""

# Long enough to be stopped: 4000 epochs of a second's tenth part each would take minutes.
MANY_EPOCHS = 20000


def checkpoints(runs: Path) -> "list[Path]":
    """Checkpoints within levels, of runs and of the dense levels that they share."""
    return [it for it in runs.glob("*/seed-*/progress") if any(it.iterdir())]


def tree(folder: Path) -> "dict[str, bytes]":
    """The files of a run's seeds, but for when they were written."""
    return {str(it.relative_to(folder)): it.read_bytes() for it in sorted(folder.glob("seed-*/level-*/*"))}


class Launch(WithProgram):
    def test_a_run_is_made_with_its_changes_and_every_event_is_told(self) -> None:
        events = []
        run = rewind.run(
            made.experiment(self.folder),
            set={"train.epochs": 1, "model.hidden": [4, 4], "train.schedule.name": "cosine"},
            seeds=[7],
            runs=self.folder / "runs",
            threads=1,
            progress=False,
            on_event=events.append,
        )
        self.assertEqual((run.seeds, run.levels()), ([7], [0, 1, 2]))
        canonical = run.identity["canonical"]
        self.assertEqual(canonical["model"]["hidden"], [4, 4])
        self.assertEqual(canonical["train"]["schedule"], {"name": "cosine"})
        self.assertEqual(events[0]["event"], "run-started")
        self.assertEqual((events[0]["levels"], events[0]["seeds"]), (3, [7]))
        self.assertEqual(Path(events[0]["run"]), run.path)
        self.assertEqual([it["summary"]["level"] for it in events if it["event"] == "level-done"], [0, 1, 2])
        self.assertEqual(events[-1]["event"], "finished")
        # Again, nothing is trained.
        again = []
        rewind.run(
            made.experiment(self.folder),
            set={"train.epochs": 1, "model.hidden": [4, 4], "train.schedule.name": "cosine"},
            seeds="7..8",
            runs=self.folder / "runs",
            threads=1,
            progress=False,
            on_event=again.append,
        )
        self.assertEqual([it["event"] for it in again if "level" in it["event"]], ["level-found"] * 3)

    def test_a_sweep_says_at_once_how_long_it_is(self) -> None:
        events = []
        sweep = made.sweep()
        rewind.run(
            sweep.path.parent.parent / "tiny-sweep.toml",
            runs=sweep.path.parent,
            threads=1,
            progress=False,
            on_event=events.append,
        )
        self.assertEqual(events[0]["event"], "sweep-started")
        self.assertEqual(sum(it["levels"] * len(it["seeds"]) for it in events[0]["cells"]), 4 * 3 * 2)
        self.assertEqual({it["cell"] for it in events[0]["cells"]}, {it["cell"] for it in events if "summary" in it})

    def test_progress_is_a_bar_with_tqdm_and_lines_without(self) -> None:
        code = (
            "import sys, rewind\n"
            "if sys.argv[3] == 'without': sys.modules['tqdm'] = sys.modules['tqdm.auto'] = None\n"
            "rewind.run(sys.argv[1], runs=sys.argv[2], threads=1)\n"
        )
        file = made.experiment(self.folder, epochs=1)
        said = {}
        for how in ("without", "with"):
            done = subprocess.run(
                [sys.executable, "-c", code, str(file), str(self.folder / how), how],
                env={**os.environ, "PYTHONPATH": str(PACKAGE)},
                capture_output=True,
                text=True,
            )
            self.assertEqual(done.returncode, 0, done.stderr)
            said[how] = done.stderr
        lines = said["without"].splitlines()
        self.assertRegex(lines[0], "tiny-.*: 6 levels of all seeds")
        self.assertRegex(lines[-1], r"6 of 6  seed \d  level 2  density 0\.2500  test accuracy [0-9.]+ %  [0-9.]+ s")
        if made.importlib.util.find_spec("tqdm"):
            self.assertIn("6/6", said["with"])

    def test_mistakes_of_a_file_are_told_with_their_places(self) -> None:
        file = made.experiment(self.folder, more="\n[trian]\nepochs = 1\n")
        with self.assertRaises(rewind.ProgramFailed) as raised:
            rewind.run(file, runs=self.folder / "runs", progress=False)
        self.assertEqual(raised.exception.exit, 2)
        line = next(at for at, line in enumerate(file.read_text().splitlines(), 1) if "trian" in line)
        self.assertIn(f"{file}:{line}:", str(raised.exception))
        self.assertIn("unknown key `trian`", str(raised.exception))
        self.assertIn("did you mean `train`?", str(raised.exception))

    def test_a_seed_that_was_given_up_is_an_error_with_its_reason(self) -> None:
        file = made.experiment(self.folder)
        with self.assertRaisesRegex(rewind.ProgramFailed, "seed 0, level 0: (.|\n)*given up: 2 of 2 seeds") as raised:
            rewind.run(file, set={"train.optimizer.lr": 1e30}, runs=self.folder / "runs", threads=1, progress=False)
        self.assertEqual(raised.exception.exit, 5)

    def test_what_has_no_effect_is_a_warning_while_the_run_goes_on(self) -> None:
        file = made.experiment(self.folder, epochs=MANY_EPOCHS)
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")

            def stop_once_told(event) -> None:
                if caught:
                    raise KeyboardInterrupt

            with self.assertRaises(rewind.Interrupted):
                rewind.run(
                    file,
                    set={"train.evaluate_every": f"{MANY_EPOCHS + 1}ep"},
                    runs=self.folder / "runs",
                    threads=1,
                    progress=False,
                    on_event=stop_once_told,
                )
        (told,) = [it for it in caught if it.category is rewind.RewindWarning]
        self.assertIn("--set:1:22: no evaluation comes every", str(told.message))

    def _driver(self, file: Path, runs: Path) -> "subprocess.Popen[str]":
        return subprocess.Popen(
            [sys.executable, "-c", DRIVER, str(file), str(runs)],
            env={**os.environ, "PYTHONPATH": str(PACKAGE)},
            stdout=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )

    def test_an_interrupted_run_waits_for_its_checkpoint_and_goes_on_to_the_same_bytes(self) -> None:
        # Levels of some seconds, in which the signal has to come, also where others wait for the processor.
        file = made.experiment(self.folder, epochs=6000)
        whole = rewind.run(file, runs=self.folder / "whole", threads=1, progress=False)
        driver = self._driver(file, self.folder / "stopped")
        self.assertEqual(driver.stdout.readline(), "level 1 is done\n")
        # As a terminal does it: to all processes of the group.
        os.killpg(driver.pid, signal.SIGINT)
        said = driver.communicate(timeout=60)[0]
        folder = self.folder / "stopped" / whole.name
        self.assertIn(f"Interrupted {folder}", said)
        self.assertIsNone(rewind.Run(folder).writer)
        self.assertLess(len(rewind.Run(folder).levels()), 3)
        again = []
        run = rewind.run(file, runs=self.folder / "stopped", threads=1, progress=False, on_event=again.append)
        self.assertTrue(any(it["event"] == "level-found" for it in again))
        self.assertEqual(tree(run.path), tree(whole.path))

    def test_an_interrupt_in_a_notebook_raises_what_is_a_keyboard_interrupt(self) -> None:
        file = made.experiment(self.folder, epochs=MANY_EPOCHS)

        def interrupt(event) -> None:
            if event["event"] == "epoch":
                raise KeyboardInterrupt

        with self.assertRaises(rewind.Interrupted) as raised:
            rewind.run(file, runs=self.folder / "runs", threads=1, progress=False, on_event=interrupt)
        self.assertIsInstance(raised.exception, KeyboardInterrupt)
        self.assertEqual(raised.exception.path.parent, self.folder / "runs")
        self.assertTrue(checkpoints(self.folder / "runs"))

    def test_an_error_of_the_listener_stops_the_run_in_order(self) -> None:
        file = made.experiment(self.folder, epochs=MANY_EPOCHS)

        def fail(event) -> None:
            if event["event"] == "epoch":
                raise ZeroDivisionError("of the listener")

        with self.assertRaisesRegex(ZeroDivisionError, "of the listener"):
            rewind.run(file, runs=self.folder / "runs", threads=1, progress=False, on_event=fail)
        (folder,) = (self.folder / "runs").glob("tiny-*")
        self.assertIsNone(writer(folder))
        self.assertTrue(checkpoints(self.folder / "runs"))

    def test_the_program_stops_in_order_when_python_is_killed(self) -> None:
        for sweep in (False, True):
            runs = self.folder / f"runs-{sweep}"
            file = made.experiment(self.folder, epochs=MANY_EPOCHS)
            if sweep:
                file = self.folder / "tiny-sweep.toml"
                file.write_text(made.SWEEP.replace("[1, 2]", f"[{MANY_EPOCHS}]"))
            driver = self._driver(file, runs)
            held = lambda: [it for it in runs.glob("*") if writer(it) is not None]
            # The sweep and one of its runs; the other may wait for the level that they share.
            wait(lambda: len(held()) >= 1 + sweep, "it has begun")
            driver.kill()
            driver.communicate()
            wait(lambda: not held(), f"{', '.join(it.name for it in runs.glob('*'))} are released")


def wait(until, what: str) -> None:
    for _ in range(6000):
        if until():
            return
        time.sleep(0.01)
    raise AssertionError(f"waited a minute: {what}")


class Finding(unittest.TestCase):
    def setUp(self) -> None:
        before = {name: os.environ.get(name) for name in ("REWIND", "PATH")}

        def restore() -> None:
            for name, value in before.items():
                os.environ.pop(name, None) if value is None else os.environ.__setitem__(name, value)

        self.addCleanup(restore)

    def test_a_program_that_is_named_and_not_there_is_an_error(self) -> None:
        os.environ["REWIND"] = "/nowhere/rewind"
        with self.assertRaisesRegex(rewind.NoProgram, r"\$REWIND is /nowhere/rewind, which is no program"):
            rewind.program.find()

    def test_no_program_is_an_error_that_says_what_to_do_and_files_are_read_without_one(self) -> None:
        run = None if made.why_no_program() else made.run()
        os.environ.pop("REWIND", None)
        os.environ["PATH"] = "/nowhere"
        if not rewind.program.SHIPPED.exists():
            with self.assertRaisesRegex(rewind.NoProgram, "Install the wheel, or run `make install`"):
                rewind.program.find()
        if run is not None:
            self.assertEqual(len(rewind.load(run.path).summary("rows")), 6)

    @unittest.skipIf(made.why_no_program(), "there is no program")
    def test_the_program_is_found_on_the_path_under_either_name(self) -> None:
        import tempfile

        program = rewind.program.find().path
        os.environ.pop("REWIND", None)
        for name in ("rewind", "host"):
            with tempfile.TemporaryDirectory() as folder:
                (Path(folder) / name).symlink_to(program)
                os.environ["PATH"] = folder
                if not rewind.program.SHIPPED.exists():
                    self.assertEqual(rewind.program.find().path, Path(folder) / name)

    def test_other_programs_of_the_name_are_passed_over(self) -> None:
        import tempfile

        with tempfile.TemporaryDirectory() as folder:
            for name in ("rewind", "host"):
                path = Path(folder) / name
                path.write_text("#!/bin/sh\necho 'Usage: host [-aCdilrTvVw] name [server]'\n")
                path.chmod(0o755)
            os.environ.pop("REWIND", None)
            os.environ["PATH"] = folder
            if not rewind.program.SHIPPED.exists():
                with self.assertRaises(rewind.NoProgram):
                    rewind.program.find()
