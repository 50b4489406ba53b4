"""Options from a function's signature: names, types, defaults, ranges, and what the docstring says of each."""

from __future__ import annotations

import inspect
import math
import re
import types
import typing
from dataclasses import dataclass
from typing import Any, Callable

Point = typing.NewType("Point", str)
Point.__doc__ = """A point of training, such as "init", "4ep" or "level-3-start"; a run stores those that options name."""

#: Regular expression of the texts that are points.
_POINT = (
    "^(([^#]+#)?(init|[0-9]+(ep|it)|(level-[0-9]+|level|previous-level)-(start|end))|init-[1-9][0-9]*)$"
)


@dataclass(frozen=True)
class Range:
    """Limits of a number: `power: Annotated[float, rs.Range(0, 1)] = 0.5`, or `power: rs.Range(0, 1) = 0.5`.

    With `open_low` or `open_high` the limit itself is outside.
    """

    low: float | None = None
    high: float | None = None
    open_low: bool = False
    open_high: bool = False

    def schema(self) -> dict[str, Any]:
        limits = {
            "exclusiveMinimum" if self.open_low else "minimum": self.low,
            "exclusiveMaximum" if self.open_high else "maximum": self.high,
        }
        return {key: limit for key, limit in limits.items() if limit is not None}

    def holds(self, value: float) -> bool:
        low = self.low is None or (value > self.low if self.open_low else value >= self.low)
        high = self.high is None or (value < self.high if self.open_high else value <= self.high)
        return low and high

    def __str__(self) -> str:
        low = "" if self.low is None else f"{'more than' if self.open_low else 'at least'} {self.low}"
        high = "" if self.high is None else f"{'less than' if self.open_high else 'at most'} {self.high}"
        return " and ".join(filter(None, [low, high]))


@dataclass(frozen=True)
class Option:
    """An argument behind the context, as an option of the experiment file."""

    name: str
    default: Any
    schema: dict[str, Any]
    check: Callable[[Any], Any]

    @property
    def is_point(self) -> bool:
        return self.schema.get("x-type") == "point"


class BadOption(ValueError):
    """An option that the function does not take."""


def options_of(function: Callable[..., Any]) -> dict[str, Option]:
    """The arguments of a function but for its first one, the context.

    A signature that cannot be options raises TypeError.
    """
    try:
        parameters = list(inspect.signature(function, eval_str=True).parameters.values())
    except NameError as error:
        raise TypeError(f"`{function.__name__}`: an annotation names what is not there: {error}") from None
    if not parameters:
        raise TypeError(f"`{function.__name__}` takes no argument, expected the context first")
    docs = _documented(function, [it.name for it in parameters[1:]])
    return {it.name: _option(function.__name__, it, docs.get(it.name)) for it in parameters[1:]}


def resolve(component: Any, given: dict[str, Any]) -> dict[str, Any]:
    """All options of a component: those that are given, checked, and the defaults of the others."""
    for name in given:
        if name not in component.options:
            known = ", ".join(f"`{it}`" for it in component.options) or "none"
            raise BadOption(f"unknown option `{name}`; `{component.name}` has {known}")
    resolved = {}
    for name, option in component.options.items():
        resolved[name] = option.check(given[name]) if name in given else option.default
    return resolved


def describe(function: Callable[..., Any]) -> str:
    """The docstring without what it says of arguments."""
    text = inspect.getdoc(function) or ""
    lines = text.splitlines()
    for place, line in enumerate(lines):
        if _SECTION.fullmatch(line):
            lines = lines[:place]
            break
    lines = [line for line in lines if not line.lstrip().startswith(":param ")]
    return "\n".join(lines).strip()


_SECTION = re.compile(r"(args|arguments|parameters|options|returns|raises|yields):?", re.IGNORECASE)


def _documented(function: Callable[..., Any], names: list[str]) -> dict[str, str]:
    """What a docstring says of arguments: lines `name: text` or `:param name: text`, and deeper ones below them."""
    found: dict[str, str] = {}
    current, depth = None, 0
    for line in (inspect.getdoc(function) or "").splitlines():
        word = re.match(r"(\s*)(?::param (?:\w+ )?)?(\w+)(?: \([^)]*\))?:\s+(.*)", line)
        indent = len(line) - len(line.lstrip())
        if word and word[2] in names:
            current, depth = word[2], indent
            found[current] = word[3].strip()
        elif current and line.strip() and indent > depth:
            found[current] += " " + line.strip()
        else:
            current = None
    return found


def _option(function: str, parameter: inspect.Parameter, docs: str | None) -> Option:
    name, default = parameter.name, parameter.default
    where = f"`{function}`: the argument `{name}`"
    if parameter.kind in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD, parameter.POSITIONAL_ONLY):
        raise TypeError(f"{where} cannot be an option: expected arguments with a name and a default")
    if default is parameter.empty:
        raise TypeError(f"{where} has no default, and every option has one: `{name}: float = 0.5`")
    annotation = parameter.annotation
    limits, words = None, []
    if typing.get_origin(annotation) is typing.Annotated:
        annotation, *more = typing.get_args(annotation)
        limits = next((it for it in more if isinstance(it, Range)), None)
        words = [it for it in more if isinstance(it, str)]
    if isinstance(annotation, Range):
        annotation, limits = type(default), annotation
    if annotation is parameter.empty:
        annotation = type(default)
    schema, check = _type(where, annotation)
    if limits is not None:
        schema |= limits.schema()
    schema["description"] = docs or " ".join(words) or f"The argument `{name}` of `{function}`."

    def checked(value: Any) -> Any:
        try:
            value = check(value)
        except ValueError as error:
            raise BadOption(f"`{name}` is {value!r}, expected {error}") from None
        if limits is not None and value is not None and not limits.holds(value):
            raise BadOption(f"`{name}` is {value!r}, expected {limits}")
        return value

    try:
        default = checked(default)
    except BadOption as error:
        raise TypeError(f"`{function}`: the default of {error}") from None
    if default is not None:
        schema["default"] = default
    return Option(name, default, schema, checked)


def _type(where: str, annotation: Any) -> tuple[dict[str, Any], Callable[[Any], Any]]:
    """The schema of a type, and what checks a value of it."""
    if annotation is Point:
        return {"type": "string", "pattern": _POINT, "x-type": "point"}, _point
    if annotation in _SCALARS:
        schema, check = _SCALARS[annotation]
        return dict(schema), check
    origin, arguments = typing.get_origin(annotation), typing.get_args(annotation)
    if origin in (typing.Union, types.UnionType) and type(None) in arguments and len(arguments) == 2:
        of = next(it for it in arguments if it is not type(None))
        schema, check = _type(where, of)
        schema["type"] = [schema["type"], "null"]
        return schema, lambda value: None if value is None else check(value)
    if origin is typing.Literal and all(isinstance(it, str) for it in arguments):
        return {"type": "string", "enum": list(arguments)}, lambda value: _among(value, arguments)
    if origin in (list, tuple) or annotation is list:
        of = arguments[0] if arguments else float
        schema, check = _type(where, of)
        return {"type": "array", "items": schema}, lambda value: _list(value, check)
    known = "bool, int, float, str, rs.Point, a Literal of texts, a list of these, or one of them or None"
    raise TypeError(f"{where} has the type {annotation!r}, expected {known}")


def _among(value: Any, known: tuple[str, ...]) -> str:
    if value not in known:
        raise ValueError("one of " + ", ".join(f'"{it}"' for it in known))
    return value


def _list(value: Any, check: Callable[[Any], Any]) -> list[Any]:
    if not isinstance(value, (list, tuple)):
        raise ValueError("a list")
    return [check(it) for it in value]


def _bool(value: Any) -> bool:
    if not isinstance(value, bool):
        raise ValueError("true or false")
    return value


def _int(value: Any) -> int:
    if isinstance(value, bool) or not isinstance(value, (int, float)) or value != int(value):
        raise ValueError("a whole number")
    return int(value)


def _float(value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not math.isfinite(value):
        raise ValueError("a number")
    return float(value)


def _str(value: Any) -> str:
    if not isinstance(value, str):
        raise ValueError("a text")
    return value


def _point(value: Any) -> str:
    if not isinstance(value, str) or not re.fullmatch(_POINT, value):
        raise ValueError('a point of training such as "init", "4ep" or "level-3-start"')
    return value


_SCALARS: dict[Any, tuple[dict[str, Any], Callable[[Any], Any]]] = {
    bool: ({"type": "boolean"}, _bool),
    int: ({"type": "integer"}, _int),
    float: ({"type": "number"}, _float),
    str: ({"type": "string"}, _str),
}
