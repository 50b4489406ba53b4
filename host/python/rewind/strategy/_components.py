"""What a file says of its functions: which is a score, a mask update, a rewind policy."""

from __future__ import annotations

import inspect
from dataclasses import dataclass, field
from typing import Any, Callable, Iterable

from ._options import Option, describe, options_of

#: The functions that were marked in this process, by kind.
FOUND: dict[str, "Component"] = {}


@dataclass(frozen=True)
class Cadence:
    """When a mask update is called; the parts combine.

    `rounds_before_training`: rounds of score and update at each level's start, from level 1 on.
    `between_levels`: after each level but the last.
    `every`: also so often within each level, a time such as `"1ep"` or `"100it"`; first at `start` (the same time if not
    given), no later than `until`.
    """

    rounds_before_training: int = 0
    between_levels: bool = False
    every: str | None = None
    start: str | None = None
    until: str | None = None

    def wire(self) -> dict[str, Any]:
        within = None
        if self.every is not None:
            within = {"every": self.every, "from": self.start or self.every, "until": self.until}
        return {
            "rounds_before_training": self.rounds_before_training,
            "between_levels": self.between_levels,
            "within_level": within,
        }


@dataclass(frozen=True)
class UnitRule:
    """By which rule masks keep whole units: `measure` is "weights", "units" or "macs", `scope` "global" or "layer"."""

    measure: str = "weights"
    scope: str = "global"
    multiple: int = 1

    def wire(self) -> dict[str, Any]:
        return {"measure": self.measure, "scope": self.scope, "multiple": self.multiple}


@dataclass
class Component:
    """A function that was marked, with what its decorator was told."""

    kind: str
    function: Callable[..., Any]
    options: dict[str, Option]
    points: Iterable[str] | Callable[..., Iterable[str]] = ()
    cadence: Cadence | Callable[..., Cadence] = field(default_factory=lambda: Cadence(between_levels=True))
    units: UnitRule | Callable[..., UnitRule] | None = None

    @property
    def name(self) -> str:
        return self.function.__name__

    def schema(self) -> dict[str, Any]:
        return {
            "type": "object",
            "description": describe(self.function) or f"The {self.kind} `{self.name}`.",
            "properties": {name: option.schema for name, option in self.options.items()},
            "additionalProperties": False,
        }

    def made(self, given: dict[str, Any]) -> dict[str, Any]:
        """What the host asks of a component that is made: points, and of a mask when it is called."""
        points = self._of(self.points, given)
        points = [points] if isinstance(points, str) else list(points)
        named = [given[name] for name, option in self.options.items() if option.is_point]
        made: dict[str, Any] = {"points": [*named, *(it for it in points if it not in named)]}
        if self.kind == "mask":
            rule = self._of(self.units, given)
            made["cadence"] = self._of(self.cadence, given).wire()
            made["unit_rule"] = None if rule is None else rule.wire()
        return made

    def _of(self, value: Any, given: dict[str, Any]) -> Any:
        """What was said, or what a function of the options says."""
        if not inspect.isfunction(value):
            return value
        wanted = inspect.signature(value).parameters
        return value(**{name: it for name, it in given.items() if name in wanted})


def _mark(kind: str, function: Callable[..., Any], **said: Any) -> Callable[..., Any]:
    if not inspect.isfunction(function):
        raise TypeError(f"@rs.{kind} marks a function, got {function!r}")
    if kind in FOUND:
        raise TypeError(
            f"`{function.__name__}` is a second {kind}, beside `{FOUND[kind].name}`: a file has one of each kind"
        )
    FOUND[kind] = Component(kind, function, options_of(function), **said)
    return function


def score(function: Callable[..., Any] | None = None, *, points: Any = ()) -> Any:
    """Marks a score: a function of a context and its options, which gives one float32 array for each prunable layer,
    of its shape; higher is kept. `points` are those of training that it asks for, or a function of the options.
    """
    if function is None:
        return lambda function: _mark("score", function, points=points)
    return _mark("score", function)


def mask(
    function: Callable[..., Any] | None = None,
    *,
    cadence: Cadence | Callable[..., Cadence] | None = None,
    units: UnitRule | Callable[..., UnitRule] | None = None,
    points: Any = (),
) -> Any:
    """Marks a mask update: a function that gives one mask for each prunable layer, of its shape, bool or float32 with
    1 for what is kept. Between levels, if `cadence` does not say otherwise.
    """
    said = {"points": points, "units": units}
    if cadence is not None:
        said["cadence"] = cadence
    if function is None:
        return lambda function: _mark("mask", function, **said)
    return _mark("mask", function)


def rewind(function: Callable[..., Any] | None = None, *, points: Any = ()) -> Any:
    """Marks a rewind policy: a function that gives a `Plan`. Every point of level 0 that it goes back to is an option of
    the type `rs.Point`, or named by `points`.
    """
    if function is None:
        return lambda function: _mark("rewind", function, points=points)
    return _mark("rewind", function)
