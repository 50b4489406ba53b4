"""Shows how far a run or a sweep is."""

from __future__ import annotations

import sys
import time
from typing import Any, Dict, Mapping, Optional, Set, Tuple


class Progress:
    """tqdm's bar, which counts finished levels of all seeds; without tqdm a line a level on stderr."""

    def __init__(self, shown: bool) -> None:
        self._shown = shown
        self._bar: Any = None
        self._levels = 0
        self._total = 0
        self._cells: Dict[str, Mapping[str, Any]] = {}
        self._seen: Set[Tuple[Any, int, int]] = set()
        self._started = time.monotonic()

    def __enter__(self) -> "Progress":
        return self

    def __exit__(self, *_: Any) -> None:
        if self._bar is not None:
            self._bar.close()

    def event(self, event: Mapping[str, Any]) -> None:
        """Takes an event of the program."""
        kind = event.get("event")
        if not self._shown:
            return
        if kind == "run-started" and "cell" not in event:
            self._start(str(event["run"]), event["levels"] * len(event["seeds"]))
        elif kind == "sweep-started":
            total = sum(cell["levels"] * len(cell["seeds"]) for cell in event["cells"])
            self._start(str(event["sweep"]), total)
            self._cells = {cell["cell"]: cell for cell in event["cells"]}
        elif kind == "cell-stopped":
            self._stopped(event)
        elif kind in ("level-found", "level-done"):
            self._level(event, event["summary"], found=kind == "level-found")
        elif kind == "epoch" and self._bar is not None:
            record = event["record"]
            place = f"level {record['level']}, epoch {record['epoch'] + 1}"
            self._bar.set_postfix_str(f"{_cell(event)}{place}, loss {_number(record['train_loss'])}")
        elif kind == "seed-failed":
            self._say(f"{_cell(event)}seed {event['seed']}, level {event['level']}: {event['reason']}")

    def _start(self, name: str, total: int) -> None:
        self._total = total
        tqdm = _tqdm()
        if tqdm is None:
            self._say(f"{name}: {total} levels of all seeds")
        else:
            self._bar = tqdm(total=total, desc=name, unit="level")

    def _stopped(self, event: Mapping[str, Any]) -> None:
        cell = self._cells.get(event["cell"])
        if cell is not None:
            self._total -= max(0, cell["levels"] - event["level"] - 1) * len(cell["seeds"])
        if self._bar is not None:
            self._bar.total = self._total
            self._bar.refresh()
        points = -100 * event["difference"]
        self._say(f"{_cell(event)}stopped at level {event['level']}, {points:.2f} points behind {event['behind']}")

    def _level(self, event: Mapping[str, Any], summary: Mapping[str, Any], found: bool) -> None:
        # A run that waited for others at a level tells again of what it found done.
        place = (event.get("cell"), summary["seed"], summary["level"])
        if place in self._seen:
            return
        self._seen.add(place)
        self._levels += 1
        if self._bar is not None:
            # What was done earlier says nothing of this session's speed.
            if found:
                self._bar.initial += 1
            self._bar.update(1)
        elif not found:
            done = f"{self._levels} of {self._total}" if self._total else str(self._levels)
            self._say(
                f"{done}  {_cell(event)}seed {summary['seed']}  level {summary['level']}  density "
                f"{summary['density']:.4f}  test accuracy {100 * summary['test_accuracy']:.2f} %  "
                f"{time.monotonic() - self._started:.1f} s"
            )

    def _say(self, line: str) -> None:
        if self._bar is not None:
            self._bar.write(line, file=sys.stderr)
        else:
            print(line, file=sys.stderr, flush=True)


def _tqdm() -> Any:
    try:
        from tqdm.auto import tqdm
    except ImportError:
        return None
    return tqdm


def _cell(event: Mapping[str, Any]) -> str:
    return f"{event['cell']}: " if "cell" in event else ""


def _number(number: Optional[float]) -> str:
    return "none" if number is None else f"{number:.4f}"
