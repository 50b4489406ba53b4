"""Sweeps as they lie on disk: cells with a method and values, each with its run."""

from __future__ import annotations

import json
from functools import cached_property
from pathlib import Path
from typing import Any, Dict, Iterable, Iterator, List, Mapping, Optional

from . import frames, program
from .errors import Damaged, NoRun, Unfinished
from .frames import Frame, Row
from .lock import Writer
from .runs import AnyPath, Run


class Cell:
    """A run of a sweep, and why it is there."""

    def __init__(self, sweep: Sweep, part: str, record: Mapping[str, Any]) -> None:
        self.sweep = sweep
        self.part = part
        """The name of its file's experiment."""
        self.name: str = record["name"]
        """Unique within the part: the method and the grid's values."""
        self.method: str = record["method"]
        self.values: Dict[str, Any] = dict(record["values"])
        """The grid's values by key, such as `model.hidden`."""
        self.seeds: List[int] = list(record["seeds"])
        self.folder = sweep.path / record["run"]

    def __repr__(self) -> str:
        return f"<cell {self.full_name}: {self.folder}>"

    @property
    def full_name(self) -> str:
        """The name in its sweep: behind its part's where the sweep has several."""
        return self.name if len(self.sweep.parts) < 2 else f"{self.part}/{self.name}"

    @property
    def stopped(self) -> Optional[Mapping[str, Any]]:
        """Behind whom it was stopped by `[sweep.stop]`: `level`, `behind`, and `difference`, `low` and `high` of its
        validation accuracy; None if it was not."""
        for rung in self.sweep.rungs:
            for cell in rung["stopped"]:
                if cell["cell"] == self.full_name:
                    return {**cell, "level": rung["level"], "behind": rung["best"], "confidence": rung["confidence"]}
        return None

    @property
    def run(self) -> Run:
        """Its run, with the cell's seeds alone. Raises `Unfinished` if it has not begun."""
        if not self.folder.is_dir():
            raise Unfinished(f"{self.full_name} of {self.sweep.path} has not begun: there is no {self.folder}")
        return Run(self.folder, self.seeds)


class Sweep:
    """Runs that belong together. `sweep["lrr"]` is the run of a cell, `sweep.cells` lists all."""

    def __init__(self, path: AnyPath) -> None:
        self.path = Path(path)
        self.cells  # what is damaged is refused at once

    def __repr__(self) -> str:
        begun = sum(cell.folder.is_dir() for cell in self.cells)
        return f"<sweep {self.path}: {len(self.cells)} cells, {begun} begun>"

    def __fspath__(self) -> str:
        return str(self.path)

    def __len__(self) -> int:
        return len(self.cells)

    def __iter__(self) -> Iterator[Cell]:
        return iter(self.cells)

    def __getitem__(self, name: str) -> Run:
        return self.cell(name).run

    def cell(self, name: str) -> Cell:
        """The cell of this name, or the only one of this method; behind `part/` where several parts have it."""
        named = [cell for cell in self.cells if name in (cell.name, cell.full_name)]
        found = named or [cell for cell in self.cells if name in (cell.method, f"{cell.part}/{cell.method}")]
        if len(found) == 1:
            return found[0]
        some = ", ".join(cell.full_name for cell in found or self.cells)
        what = f"several cells `{name}`: say which of" if found else f"no cell `{name}`; it has"
        raise NoRun(f"{self.path} has {what} {some}")

    @property
    def name(self) -> str:
        """Its name."""
        return self.path.resolve().name

    @property
    def writers(self) -> List[Writer]:
        """The processes that write runs of the sweep at the moment, each once."""
        found = (cell.run.writer for cell in self.cells)
        return list(dict.fromkeys(it for it in found if it is not None))

    @cached_property
    def parts(self) -> List[Mapping[str, Any]]:
        """`parts` of `sweep.json`: one for each file with methods."""
        path = self.path / "sweep.json"
        try:
            return list(json.loads(path.read_text("utf-8"))["parts"])
        except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
            raise Damaged(f"{path} is damaged: {error}; the sweep's command writes it anew") from error

    @cached_property
    def cells(self) -> List[Cell]:
        """All cells, in the order of the files."""
        try:
            return [Cell(self, part["name"], cell) for part in self.parts for cell in part["cells"]]
        except (KeyError, TypeError, ValueError) as error:
            path = self.path / "sweep.json"
            raise Damaged(f"{path} is damaged: a cell lacks {error}; the sweep's command writes it anew") from error

    @property
    def rungs(self) -> List[Mapping[str, Any]]:
        """`rungs` of `stopped.json`: where cells were compared, and which ended; empty without `[sweep.stop]`."""
        path = self.path / "stopped.json"
        try:
            return list(json.loads(path.read_text("utf-8"))["rungs"])
        except FileNotFoundError:
            return []
        except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
            raise Damaged(f"{path} is damaged: {error}; the sweep's command writes it anew") from error

    def summary(self, frame: Optional[Frame] = None) -> Any:
        """A row for each finished level of each seed of each cell that has begun; see `Run.summary`."""
        return frames.make(self._rows(Run.summary), frame)

    def metrics(self, frame: Optional[Frame] = None) -> Any:
        """A row for each epoch of each finished level of each cell; see `Run.metrics`."""
        return frames.make(self._rows(Run.metrics), frame)

    def layers(self, frame: Optional[Frame] = None) -> Any:
        """A row for each prunable layer of each finished level of each cell; see `Run.layers`."""
        return frames.make(self._rows(Run.layers), frame)

    def classes(self, frame: Optional[Frame] = None) -> Any:
        """A row for each class of each finished level of each cell; see `Run.classes`."""
        return frames.make(self._rows(Run.classes), frame)

    def best(self, level: Optional[int] = None) -> Dict[str, Any]:
        """What `rewind best` says: the runs in the order of their validation accuracy at a level, the last that all
        have finished if none is given."""
        more = [] if level is None else ["--level", str(level)]
        return program.ask(["best", str(self.path), *more])[0]

    def _rows(self, read: Any) -> Iterable[Row]:
        for cell in self.cells:
            if cell.folder.is_dir():
                about = {"part": cell.part, "cell": cell.name, "method": cell.method, **cell.values}
                for row in read(cell.run, "rows"):
                    yield {**about, **row}
