"""Rewind for Python: runs in a notebook, and PyTorch's networks before and after them.

    import rewind

    run = rewind.run("experiments/lrr.toml", set={"train.epochs": 5})
    run.summary()                                # pandas, polars, or rows
    mask = run.mask(10)["fc1.weight"]            # NumPy; framework="torch" for tensors
    rewind.apply(module, run, level=10)          # weights into a torch module, zeros stay zero

What the program computes, it is asked for; what lies in files is read from them.
"""

from .comparison import Comparison, compare
from .errors import (
    Damaged,
    Interrupted,
    LaterVersion,
    Misfit,
    NoProgram,
    NoRun,
    ProgramFailed,
    RewindError,
    Unfinished,
)
from .examples import example, examples
from .frames import Table
from .launch import run
from .levels import Level
from .networks import export
from .program import RewindWarning
from .runs import Run, load
from .sparse import Applied, apply
from .sweeps import Cell, Sweep

__version__ = "0.1.0"

__all__ = [
    "Applied",
    "Cell",
    "Comparison",
    "Damaged",
    "Interrupted",
    "LaterVersion",
    "Level",
    "Misfit",
    "NoProgram",
    "NoRun",
    "ProgramFailed",
    "RewindError",
    "RewindWarning",
    "Run",
    "Sweep",
    "Table",
    "Unfinished",
    "apply",
    "compare",
    "example",
    "examples",
    "export",
    "load",
    "run",
]
