import json
import os
import subprocess
import sys
import tempfile
import unittest
from pathlib import Path

import rewind
from rewind import cli, libtorch

from .made import WithProgram

PACKAGE = Path(rewind.__file__).parents[1]


def pytorch(folder: Path, version: str) -> None:
    """What a PyTorch of this version looks like from outside."""
    (folder / "torch/lib").mkdir(parents=True)
    (folder / "torch/__init__.py").write_text("raise SystemExit('nobody may import this')")
    (folder / "torch/version.py").write_text(f"__version__ = '{version}'\n")
    (folder / "torch/lib/libtorch_cpu.so").touch()


class Libtorch(unittest.TestCase):
    def setUp(self) -> None:
        temporary = tempfile.TemporaryDirectory()
        self.addCleanup(temporary.cleanup)
        self.folder = Path(temporary.name)
        before, loaded = list(sys.path), {
            it: sys.modules.pop(it) for it in list(sys.modules) if it.split(".")[0] == "torch"
        }
        self.addCleanup(sys.modules.update, loaded)
        self.addCleanup(setattr, sys, "path", before)

    def test_it_is_found_without_being_imported(self) -> None:
        pytorch(self.folder, "2.13.1+cpu")
        sys.path[:0] = [str(self.folder)]
        found = libtorch.find()
        self.assertEqual(found, ("2.13.1+cpu", self.folder / "torch/lib"))
        self.assertTrue(found.fits)
        self.assertFalse(found.cuda)
        self.assertNotIn("torch", sys.modules)

    def test_the_program_beside_it_needs_nothing_and_one_elsewhere_is_pointed_to_it(self) -> None:
        pytorch(self.folder, "2.13.0")
        sys.path[:0] = [str(self.folder)]
        self.assertEqual(libtorch.environment(self.folder / "rewind/bin/rewind"), {})
        elsewhere = libtorch.environment(self.folder / "other/rewind/bin/rewind")
        self.assertEqual(elsewhere["LD_LIBRARY_PATH"].split(":")[0], str(self.folder / "torch/lib"))

    def test_another_version_is_refused_with_what_to_type(self) -> None:
        pytorch(self.folder, "2.12.1")
        sys.path[:0] = [str(self.folder)]
        with self.assertRaises(rewind.NoProgram) as raised:
            libtorch.environment(self.folder / "rewind/bin/rewind")
        said = str(raised.exception)
        self.assertIn(f"the installed PyTorch is 2.12.1 (in {self.folder / 'torch'})", said)
        self.assertIn('pip install "torch==2.13.*"', said)

    def test_none_at_all_and_half_of_one_are_refused(self) -> None:
        sys.path[:] = [str(self.folder)]
        with self.assertRaisesRegex(rewind.NoProgram, "PyTorch is not installed"):
            libtorch.environment(self.folder / "rewind/bin/rewind")
        pytorch(self.folder, "2.13.0")
        (self.folder / "torch/lib/libtorch_cpu.so").unlink()
        sys.path_importer_cache.clear()
        with self.assertRaisesRegex(rewind.NoProgram, "has no libtorch_cpu.so: PyTorch is half installed"):
            libtorch.environment(self.folder / "rewind/bin/rewind")


class Examples(unittest.TestCase):
    def test_an_example_becomes_the_path_of_its_file(self) -> None:
        lrr = str(rewind.example("lrr"))
        self.assertTrue(Path(lrr).is_file())
        for given in (
            ["run", "--example", "lrr", "-q"],
            ["run", "--example=lrr", "-q"],
            ["run", "--example=lrr.toml", "-q"],
        ):
            self.assertEqual(cli.with_example(given), ["run", lrr, "-q"])
        self.assertEqual(cli.with_example(["run", "--", "--example"]), ["run", "--", "--example"])
        for given in (["run", "--example"], ["run", "--example", "../lrr"]):
            with self.assertRaisesRegex(rewind.RewindError, "there is no example .*; there are .*lrr, .*mnist1d/paper"):
                cli.with_example(given)


class Command(WithProgram):
    def call(self, *arguments: str) -> "subprocess.CompletedProcess[str]":
        return subprocess.run(
            [sys.executable, "-m", "rewind", *arguments],
            cwd=self.folder,
            env={**os.environ, "PYTHONPATH": str(PACKAGE)},
            capture_output=True,
            text=True,
        )

    def test_it_is_the_program_with_its_exit_codes(self) -> None:
        done = self.call("plan", "--example", "lrr", "--no-estimate", "--json")
        self.assertEqual((done.returncode, json.loads(done.stdout)["name"]), (0, "lrr"), done.stderr)
        self.assertEqual(self.call("show", "nothing").returncode, 2)
        help = self.call("--help")
        self.assertEqual(help.returncode, 0)
        self.assertIn("prunes them level by level", help.stdout)
        self.assertIn("run --example NAME", help.stdout)

    def test_its_own_mistakes_look_like_the_programs(self) -> None:
        done = self.call("run", "--example", "lrrr")
        self.assertEqual(done.returncode, 2)
        self.assertTrue(done.stderr.startswith("error: there is no example `lrrr`; there are "), done.stderr)
        done = self.call("run", "--example", "lrrr", "--json")
        self.assertEqual(json.loads(done.stderr)["exit"], 2)

    def test_the_doctor_says_what_is_there(self) -> None:
        done = self.call("doctor", "--json")
        findings = {it["what"]: it for it in map(json.loads, done.stdout.splitlines())}
        self.assertIn("imp", findings["plugins"]["found"])
        self.assertIn("mnist1d", findings["data"]["found"])
        self.assertEqual(done.returncode, 0 if all(it["well"] for it in findings.values()) else 5)
        self.assertIn("plugins", self.call("doctor").stdout)
        self.assertEqual(self.call("doctor", "--jsno").returncode, 2)

    def test_the_doctor_says_what_is_missing_and_what_to_type(self) -> None:
        pytorch(self.folder / "site", "2.11.0")
        done = subprocess.run(
            [sys.executable, "-m", "rewind", "doctor"],
            env={**os.environ, "PYTHONPATH": f"{self.folder / 'site'}:{PACKAGE}", "REWIND": "/nowhere"},
            capture_output=True,
            text=True,
        )
        self.assertEqual(done.returncode, 5, done.stderr)
        self.assertRegex(done.stdout, "NOT PyTorch +2.11.0 in")
        self.assertIn('pip install "torch==2.13.*"', done.stdout)
        # The wheel's own program lacks its PyTorch; in a checkout there is none but what is named.
        self.assertRegex(done.stdout, "NOT program +.*(/nowhere, which is no program|and the program needs 2.13)")


if __name__ == "__main__":
    unittest.main()
