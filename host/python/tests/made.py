"""What the tests read: a tiny run and a tiny sweep, made once by the program, and copied by whoever damages one."""

from __future__ import annotations

import atexit
import functools
import importlib.util
import shutil
import tempfile
import unittest
from pathlib import Path

import rewind
from rewind import program

# 40 inputs, 8 hidden units, 10 classes: fc1.weight [8, 40], fc2.weight [10, 8], with biases and a batch norm.
EXPERIMENT = """
name = "{name}"
seeds = [0, 3]
data = {{ name = "mnist1d" }}
model = {{ name = "mlp", hidden = [8], batch_norm = true }}
[train]
epochs = {epochs}
batch_size = 500
optimizer = {{ name = "sgd", lr = 0.1, momentum = 0.9, weight_decay = 5e-4 }}
[prune]
levels = 2
rate = 0.5
[strategy]
score = "imp/magnitude"
mask = "imp/global"
rewind = "lrr/learning-rate"
"""

SWEEP = """
base = "tiny.toml"
name = "tiny-sweep"
[sweep.methods.lrr]
strategy.rewind = "lrr/learning-rate"
[sweep.methods.imp]
strategy.rewind = "imp/weights"
[sweep.grid]
train.epochs = [1, 2]
"""


def needs(*modules: str):
    """Leaves a test out, with the reason, where a module is not installed."""
    missing = [name for name in modules if importlib.util.find_spec(name) is None]
    return unittest.skipIf(missing, f"{', '.join(missing)} is not installed")


@functools.lru_cache(maxsize=None)
def why_no_program() -> str:
    try:
        program.find()
    except rewind.NoProgram as error:
        return str(error)
    return ""


class WithProgram(unittest.TestCase):
    """A test of files that the program wrote."""

    @classmethod
    def setUpClass(cls) -> None:
        if why_no_program():
            raise unittest.SkipTest(why_no_program())

    def setUp(self) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="rewind-test-"))
        self.addCleanup(shutil.rmtree, self.folder, ignore_errors=True)

    def copy(self) -> Path:
        """A copy of the tiny run, to be damaged."""
        target = self.folder / run().path.name
        shutil.copytree(run().path, target)
        return target


def experiment(folder: Path, name: str = "tiny", epochs: int = 2, more: str = "") -> Path:
    """An experiment file in a folder."""
    file = folder / f"{name}.toml"
    file.write_text(EXPERIMENT.format(name=name, epochs=epochs) + more)
    return file


@functools.lru_cache(maxsize=None)
def _folder() -> Path:
    folder = Path(tempfile.mkdtemp(prefix="rewind-made-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return folder


@functools.lru_cache(maxsize=None)
def run() -> "rewind.Run":
    """A finished run: seeds 0 and 3, levels 0 to 2."""
    return rewind.run(experiment(_folder()), runs=_folder() / "runs", threads=1, progress=False)


@functools.lru_cache(maxsize=None)
def sweep() -> "rewind.Sweep":
    """A finished sweep: two methods at two values."""
    experiment(_folder())
    file = _folder() / "tiny-sweep.toml"
    file.write_text(SWEEP)
    return rewind.run(file, runs=_folder() / "runs", threads=1, jobs=2, progress=False)
