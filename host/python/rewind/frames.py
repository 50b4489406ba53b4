"""Tables as whatever the caller has: pandas, polars, or a list of rows."""

from __future__ import annotations

import importlib.util
import sys
from typing import Any, Dict, Iterable, List, Literal, Optional

Frame = Literal["pandas", "polars", "rows"]
"""What a table is given as: `None` where one may be named is pandas if it is installed, else polars, else rows."""

Row = Dict[str, Any]


class Table(List[Row]):
    """Rows as dictionaries with the same keys, printed as a table. What a row lacks is `None`."""

    @property
    def columns(self) -> List[str]:
        """The names of the columns."""
        return list(self[0]) if self else []

    def column(self, name: str) -> List[Any]:
        """The values of a column."""
        return [row[name] for row in self]

    def __repr__(self) -> str:
        return "\n".join("  ".join(cells).rstrip() for cells in _aligned(self)) if self else "no rows"

    def _repr_html_(self) -> str:
        from html import escape

        lines = _aligned(self)

        def row(line: List[str], kind: str) -> str:
            return "<tr>" + "".join(f"<{kind}>{escape(cell.strip())}</{kind}>" for cell in line) + "</tr>"

        body = "".join(row(line, "td") for line in lines[1:])
        return f"<table><thead>{row(lines[0], 'th')}</thead><tbody>{body}</tbody></table>"


def make(rows: Iterable[Row], frame: Optional[Frame] = None) -> Any:
    """A table of these rows, whose keys need not be the same: a new one stands behind the one that it follows."""
    rows = list(rows)
    names = _names(rows)
    table = Table({name: row.get(name) for name in names} for row in rows)
    kind = frame or _installed()
    if kind == "rows":
        return table
    if kind == "pandas":
        import pandas

        return pandas.DataFrame(list(table), columns=names)
    if kind == "polars":
        import polars

        schema = None if table else names
        return polars.DataFrame(list(table), schema=schema, infer_schema_length=None, strict=False)
    raise ValueError(f"frame is {frame!r}, expected 'pandas', 'polars' or 'rows'")


def _installed() -> Frame:
    if _is_installed("pandas"):
        return "pandas"
    return "polars" if _is_installed("polars") else "rows"


def _is_installed(name: str) -> bool:
    # A module that is None there is one that somebody switched off.
    return sys.modules[name] is not None if name in sys.modules else importlib.util.find_spec(name) is not None


def _names(rows: List[Row]) -> List[str]:
    names: List[str] = []
    known: set[str] = set()
    for row in rows:
        if known.issuperset(row):
            continue
        at = 0
        for name in row:
            if name in known:
                at = names.index(name) + 1
            else:
                names.insert(at, name)
                known.add(name)
                at += 1
    return names


def _aligned(table: Table) -> List[List[str]]:
    def text(value: Any) -> str:
        if value is None:
            return ""
        return f"{value:.6g}" if isinstance(value, float) else str(value)

    lines = [table.columns] + [[text(value) for value in row.values()] for row in table]
    widths = [max(len(line[at]) for line in lines) for at in range(len(table.columns))]
    return [[cell.rjust(width) for cell, width in zip(line, widths)] for line in lines]
