"""Two runs beside each other, in the program's own numbers."""

from __future__ import annotations

from dataclasses import dataclass
from os import fspath
from typing import Any, Dict, List, Optional, Union

from . import frames, program
from .frames import Frame
from .runs import AnyPath, Run
from .sweeps import Cell

# In the order of the table that `rewind compare` prints.
COLUMNS = (
    "level",
    "density_above",
    "density_below",
    "seeds",
    "mean_above",
    "mean_below",
    "difference",
    "low",
    "high",
)


@dataclass(frozen=True)
class Comparison:
    """The differences of two runs, seed by seed."""

    above: str
    """The run from which the other one is subtracted."""
    below: str
    measure: str
    levels: Any
    """A row a level: densities, means in %, their difference in percentage points with Student's 95 % interval from
    `low` to `high`, and the seeds that both have."""
    other_builds: Dict[str, List[Any]]
    """The levels of `above` and `below` that another build of a plugin made."""


def compare(
    a: Union[AnyPath, Run, Cell],
    b: Union[AnyPath, Run, Cell],
    *,
    measure: Optional[str] = None,
    runs: AnyPath = "runs",
    frame: Optional[Frame] = None,
) -> Comparison:
    """What `rewind compare` says of two runs: `a` minus `b`, at every level that both have finished.

    Each is a run, a cell, a folder, a name among the `runs`, or "SWEEP:METHOD". `measure` is "test-accuracy" if not
    given, "validation-accuracy", "flips-init" or "flips-start". Raises `ProgramFailed` for runs that cannot be
    compared, such as those on other data.
    """
    more = [] if measure is None else ["--measure", measure]
    answer = program.ask(["compare", _named(a), _named(b), "--runs", fspath(runs), *more])[0]
    return Comparison(
        above=answer["above"],
        below=answer["below"],
        measure=answer["measure"],
        levels=frames.make(({name: level[name] for name in COLUMNS} for level in answer["levels"]), frame),
        other_builds=answer["other_builds"],
    )


def _named(given: Union[AnyPath, Run, Cell]) -> str:
    if isinstance(given, Cell):
        return f"{fspath(given.sweep)}:{given.full_name}"
    return fspath(given)
