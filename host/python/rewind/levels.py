"""One finished level of a seed: its files, each read only if the level says that it is there and whole."""

from __future__ import annotations

import json
import re
from functools import cached_property
from pathlib import Path
from typing import Any, Dict, List, Mapping

from . import safetensors
from .errors import Damaged, LaterVersion
from .lock import writer
from .safetensors import Framework

DONE = "done.json"
# What versions up to this one write into `done.json`.
KEYS = {"level", "digests", "carry", "digest"}

Tensors = Dict[str, Any]
"""Arrays or tensors by PyTorch's names, in PyTorch's shapes."""


class Level:
    """A finished level. `run.level(3, seed=0)` gives one."""

    def __init__(self, path: Path, seed: int, number: int) -> None:
        self.path = path
        self.seed = seed
        self.number = number

    def __repr__(self) -> str:
        return f"<level {self.number} of seed {self.seed}: {self.path}>"

    def __fspath__(self) -> str:
        return str(self.path)

    def mask(self, framework: Framework = "numpy") -> Tensors:
        """The masks at the level's end: booleans, true is kept, one for each prunable layer."""
        return self._masks("mask.safetensors", framework)

    def start_mask(self, framework: Framework = "numpy") -> Tensors:
        """The masks at the level's start, which differ from those at its end where masks change within levels."""
        own = "mask-start.safetensors"
        return self._masks(own if own in self.files else "mask.safetensors", framework)

    def weights(self, at: str = "end", framework: Framework = "numpy") -> Tensors:
        """Parameters and running statistics `at` the level's "end", or at its "start", after rewinding. Pruned
        weights are 0."""
        if at not in ("start", "end"):
            raise ValueError(f"at is {at!r}, expected 'start' or 'end'")
        return self.tensors(f"{at}.safetensors", framework)

    def summary(self) -> Dict[str, Any]:
        """What the level came to, as in `summary.csv`."""
        return self._object(self.file("summary.json"))

    def metrics(self) -> List[Dict[str, Any]]:
        """One row an epoch."""
        return self._lines("metrics.jsonl")

    def layers(self) -> List[Dict[str, Any]]:
        """One row a prunable layer."""
        return self._lines("layers.jsonl")

    def signs(self) -> List[Dict[str, Any]]:
        """One row an epoch and prunable layer: survivors, and those that crossed zero; none in levels of versions that
        did not count them."""
        if "signs.jsonl" not in self.files:
            return []
        layers = [row["layer"] for row in self.layers()]
        rows = []
        for at, line in enumerate(self._lines("signs.jsonl"), 1):
            lists = {key: value for key, value in line.items() if isinstance(value, list)}
            if any(len(counts) != len(layers) for counts in lists.values()):
                raise Damaged(f"{self.path / 'signs.jsonl'} is damaged: line {at} is of other layers")
            own = {key: value for key, value in line.items() if key not in lists}
            for place, layer in enumerate(layers):
                rows.append({**own, "layer": layer, **{key: counts[place] for key, counts in lists.items()}})
        return rows

    def classes(self) -> List[Dict[str, Any]]:
        """One row a class, where the experiment's metrics ask for it; else none."""
        return self._lines("classes.jsonl") if "classes.jsonl" in self.files else []

    def tensors(self, name: str, framework: Framework = "numpy") -> Tensors:
        """The tensors of one of the level's files, such as "optimizer.safetensors"."""
        return safetensors.read(self.file(name), framework)

    def file(self, name: str) -> Path:
        """One of the level's files. Raises `Damaged` if it is missing or no file of this level."""
        path = self.path / name
        if name not in self.files:
            raise Damaged(f"{path} is no file of this level: {DONE} beside it lists {', '.join(sorted(self.files))}")
        if not path.is_file():
            raise Damaged(
                f"{path} is missing, although {DONE} beside it lists it: the level is half deleted{self._by_whom()}"
            )
        return path

    @cached_property
    def files(self) -> Mapping[str, str]:
        """The level's files with their BLAKE3 digests, which `verify` compares."""
        path = self.path / DONE
        done = self._object(path)
        digests = done.get("digests")
        if done.get("level") != self.number or not isinstance(digests, dict):
            raise Damaged(f"{path} is damaged: it is not that of level {self.number}")
        if unknown := sorted(set(done) - KEYS):
            raise LaterVersion(
                f"{path} has {', '.join(unknown)}, which this version does not know: a later one wrote the run; "
                "update this package"
            )
        if strange := [name for name in digests if not re.fullmatch(r"[^/\\\0]+", name) or name in (".", "..")]:
            raise Damaged(f"{path} is damaged: it lists `{strange[0]}`, expected names of files beside it")
        return digests

    def _masks(self, name: str, framework: Framework) -> Tensors:
        masks = self.tensors(name, framework)
        for layer, mask in masks.items():
            if not bool(((mask == 0) | (mask == 1)).all()):
                raise Damaged(f"{self.path / name} is damaged: `{layer}` has other numbers than 0 and 1")
        return {layer: mask == 1 for layer, mask in masks.items()}

    def _object(self, path: Path) -> Dict[str, Any]:
        text = self._text(path)
        try:
            value = json.loads(text)
        except (ValueError, RecursionError) as error:
            raise Damaged(f"{path} is damaged: {error}{self._by_whom()}") from error
        if not isinstance(value, dict):
            raise Damaged(f"{path} is damaged: it holds no object of JSON")
        return value

    def _lines(self, name: str) -> List[Dict[str, Any]]:
        path = self.file(name)
        text = self._text(path)
        if text and not text.endswith("\n"):
            raise Damaged(f"{path} is damaged: it ends within line {text.count(chr(10)) + 1}{self._by_whom()}")
        rows = []
        for at, line in enumerate(text.splitlines(), 1):
            try:
                row = json.loads(line)
            except (ValueError, RecursionError) as error:
                raise Damaged(f"{path} is damaged: line {at}: {error}") from error
            if not isinstance(row, dict):
                raise Damaged(f"{path} is damaged: line {at} is no object of JSON")
            rows.append(row)
        return rows

    def _text(self, path: Path) -> str:
        try:
            return path.read_text("utf-8")
        except (OSError, UnicodeDecodeError) as error:
            reason = error.strerror if isinstance(error, OSError) else error
            raise Damaged(f"failed to read {path}: {reason}{self._by_whom()}") from error

    def _by_whom(self) -> str:
        """What to do about a file that is not whole."""
        who = writer(self.path.parent.parent)
        if who is not None:
            return f"; {who} writes the run at the moment: read it again later"
        return "; the run's command makes the level anew"
