"""Runs as they lie on disk."""

from __future__ import annotations

import json
import os
import re
from functools import cached_property
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any, Callable, Dict, Iterable, List, Mapping, Optional, Sequence, Union

from . import frames, program
from .errors import Damaged, LaterVersion, NoProgram, NoRun, ProgramFailed, RewindError, Unfinished
from .frames import Frame, Row
from .levels import DONE, Level, Tensors
from .lock import Writer, writer
from .safetensors import Framework

if TYPE_CHECKING:
    from .sweeps import Sweep

# The form of `identity.json` that this version knows.
SCHEMA = 1

AnyPath = Union[str, "PathLike[str]"]


class Run:
    """The run of one experiment. `rewind.load` gives one."""

    def __init__(self, path: AnyPath, seeds: Optional[Sequence[int]] = None) -> None:
        self.path = Path(path)
        self._only = None if seeds is None else list(seeds)
        if not self.path.is_dir():
            raise NoRun(f"there is no run {self.path}")
        self.identity  # what is of a later version is refused before anything is read of it

    def __repr__(self) -> str:
        return f"<run {self.path}: {_standing({seed: len(self.levels(seed)) for seed in self.seeds})}>"

    def __fspath__(self) -> str:
        return str(self.path)

    @property
    def name(self) -> str:
        """The name of its folder."""
        return self.path.resolve().name

    @cached_property
    def identity(self) -> Mapping[str, Any]:
        """`identity.json`: the canonical form of the experiment, its digest, the plugins. Empty for a folder of
        dense levels, which are nobody's."""
        path = self.path / "identity.json"
        if not path.exists():
            if (self.path / "experiment.toml").exists():
                raise Damaged(f"{path} is missing: {self.path} is half deleted, or was never finished copying")
            return {}
        try:
            value = json.loads(path.read_text("utf-8"))
            schema = value["canonical"].get("schema")
        except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
            raise Damaged(f"{path} is damaged: {error}") from error
        if schema is not None and schema != SCHEMA:
            raise LaterVersion(
                f"{path} has schema {schema}, expected {SCHEMA}: a later version wrote the run; update this package"
            )
        return value  # type: ignore[no-any-return]

    @property
    def writer(self) -> Optional[Writer]:
        """The process that writes the run at the moment, if any does. Finished levels can be read meanwhile."""
        return writer(self.path)

    @property
    def seeds(self) -> List[int]:
        """The seeds that have a folder, ascending; of a sweep's cell, its own."""
        try:
            found = os.listdir(self.path)
        except OSError as error:
            raise NoRun(f"failed to read {self.path}: {error.strerror}") from error
        names = (re.fullmatch(r"seed-([0-9]+)", it) for it in found)
        seeds = sorted(int(name[1]) for name in names if name)
        return seeds if self._only is None else [seed for seed in seeds if seed in self._only]

    def levels(self, seed: Optional[int] = None) -> List[int]:
        """The finished levels of a seed; if none is given, those that all seeds have finished."""
        if seed is None:
            return list(range(min((len(self.levels(it)) for it in self.seeds), default=0)))
        folder = self._seed(seed)
        done = {int(it.parent.name[6:]) for it in folder.glob(f"level-[0-9]*/{DONE}") if it.parent.name[6:].isdigit()}
        count = next(level for level in range(len(done) + 1) if level not in done)
        if later := sorted(level for level in done if level > count):
            who = self.writer
            raise Damaged(
                f"{folder} has level {later[0]}, but no finished level {count}: it is half deleted"
                + ("; its command makes it anew" if who is None else f", or {who} makes it anew: read it again later")
            )
        return list(range(count))

    def level(self, level: int, seed: Optional[int] = None) -> Level:
        """A finished level of a seed, of the first one if none is given. -1 is the last that is finished.

        Raises `Unfinished` for one that is not, with who trains it.
        """
        if seed is None:
            seed = self._first()
        have = self.levels(seed)
        number = len(have) + level if level < 0 else level
        if number not in have:
            raise Unfinished(self._why_missing(level, seed, len(have)))
        return self._level(seed, number)

    def mask(self, level: int, seed: Optional[int] = None, framework: Framework = "numpy") -> Tensors:
        """The masks of a level: booleans by layer, true is kept. See `Level.mask`."""
        return self.level(level, seed).mask(framework)

    def weights(
        self, level: int, seed: Optional[int] = None, at: str = "end", framework: Framework = "numpy"
    ) -> Tensors:
        """Parameters and running statistics at a level's "end" or "start". See `Level.weights`."""
        return self.level(level, seed).weights(at, framework)

    def initial(self, seed: Optional[int] = None, framework: Framework = "numpy") -> Tensors:
        """Parameters and running statistics before the first step of level 0."""
        return self.level(0, seed).weights("start", framework)

    def summary(self, frame: Optional[Frame] = None) -> Any:
        """A row for each finished level of each seed, with the columns of `summary.csv`."""
        return frames.make(self._rows(lambda level: [level.summary()]), frame)

    def metrics(self, frame: Optional[Frame] = None) -> Any:
        """A row for each epoch of each finished level: `metrics.jsonl`, with the seed before it."""
        return frames.make(self._rows(Level.metrics), frame)

    def layers(self, frame: Optional[Frame] = None) -> Any:
        """A row for each prunable layer of each finished level: `layers.jsonl`, with the seed before it."""
        return frames.make(self._rows(Level.layers), frame)

    def signs(self, frame: Optional[Frame] = None) -> Any:
        """A row for each epoch and prunable layer of each finished level: `signs.jsonl`, with the seed before it."""
        return frames.make(self._rows(Level.signs), frame)

    def classes(self, frame: Optional[Frame] = None) -> Any:
        """A row for each class of each finished level: `classes.jsonl`, with the seed before it."""
        return frames.make(self._rows(Level.classes), frame)

    def verify(self, data: bool = False) -> Dict[str, Any]:
        """What `rewind verify` finds: every byte by its digest, masks, zeros, records; with `data` also test metrics,
        initial weights and the strategy's own masks. Nothing is wrong if `problems` is empty."""
        more = [] if data else ["--no-data"]
        return program.ask(["verify", str(self.path), *more], allowed=(0, 5))[0]

    def show(self) -> Dict[str, Any]:
        """What `rewind show` says: `levels` that the experiment asks for, `seeds` with what became of each."""
        return program.ask(["show", str(self.path)])[0]

    def _rows(self, read: Callable[[Level], Iterable[Row]]) -> Iterable[Row]:
        for seed in self.seeds:
            for number in self.levels(seed):
                for row in read(self._level(seed, number)):
                    yield {"seed": seed, **row}

    def _level(self, seed: int, number: int) -> Level:
        return Level(self.path / f"seed-{seed}" / f"level-{number:02}", seed, number)

    def _seed(self, seed: int) -> Path:
        folder = self.path / f"seed-{seed}"
        if seed not in self.seeds:
            known = ", ".join(map(str, self.seeds)) or "none yet"
            raise NoRun(f"{self.path} has no seed {seed!r}; it has {known}")
        return folder

    def _first(self) -> int:
        if not self.seeds:
            raise Unfinished(f"{self.path} has no seed yet{self._meanwhile()}")
        return self.seeds[0]

    def _why_missing(self, level: int, seed: int, count: int) -> str:
        stands = "no finished level" if count == 0 else f"levels 0 to {count - 1}"
        failure = self._seed(seed) / "failed.json"
        if failure.exists():
            return f"seed {seed} of {self.path} was given up, see {failure}; it has {stands}"
        return f"level {level} of seed {seed} of {self.path} is not finished; it has {stands}{self._meanwhile()}"

    def _meanwhile(self) -> str:
        who = self.writer
        return "" if who is None else f", and {who} trains it at the moment"


def _standing(levels: Mapping[int, int]) -> str:
    seeds = "1 seed" if len(levels) == 1 else f"{len(levels)} seeds"
    counts = sorted(set(levels.values())) or [0]
    span = str(counts[0]) if len(counts) == 1 else f"{counts[0]} to {counts[-1]}"
    return f"{seeds}, {span} finished level{'' if span == '1' else 's'} each"


def load(path: AnyPath, runs: AnyPath = "runs") -> Union[Run, Sweep]:
    """The run or the sweep in a folder, or of that name among the `runs`; of a run also without its identity, if
    only one has the rest.

    Raises `NoRun` with the names that there are, `LaterVersion`, or `Damaged` for what is half deleted.
    """
    from .sweeps import Sweep

    for folder in (Path(path), Path(runs) / path):
        if (folder / "sweep.json").exists():
            return Sweep(folder)
        if (folder / "neuron.json").exists():
            raise NoRun(f"{folder} is a simulation of the hidden neuron, which has no levels: read its files")
        if (folder / "identity.json").exists() or any(folder.glob("seed-*")):
            return Run(folder)
        if folder.is_dir() and any((folder / name).exists() for name in ("experiment.toml", "manifest.json", "cells")):
            raise Damaged(f"{folder} has neither identity.json nor sweep.json: it is half deleted")
    # What a shorter name means, and which names there are, the program knows.
    try:
        answer = program.ask(["show", os.fspath(path), "--runs", os.fspath(runs)])[0]
    except NoProgram:
        raise NoRun(f"there is no run {path}, nor one of that name in {runs}") from None
    except ProgramFailed as failure:
        raise (NoRun if failure.exit == 2 else RewindError)(str(failure)) from None
    return Run(answer["run"])
