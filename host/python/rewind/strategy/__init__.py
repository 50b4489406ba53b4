"""Strategies in Python: a score, a mask or a rewind policy is a function in a file.

    import rewind.strategy as rs

    @rs.score
    def mine(ctx, power: float = 0.5):
        return [w.abs() * layer.fan_in ** power for w, layer in zip(ctx.weights(), ctx.layers)]

An experiment file names the file, and the function's arguments are its options:

    score = { use = "python/score", file = "mine.py", power = 0.3 }

A file has at most one score, one mask and one rewind policy. It runs in a process of its own, into which the program
puts this package, whatever is installed there. NumPy is all that it needs. A file that imports torch is given torch's
tensors instead of NumPy's arrays.
"""

from ._components import Cadence, UnitRule, mask, rewind, score
from ._context import Context, HostError, Layer
from ._options import Point, Range
from ._plan import Plan, to_point
from ._still import Still

__all__ = [
    "Cadence",
    "Context",
    "HostError",
    "Layer",
    "Plan",
    "Point",
    "Range",
    "Still",
    "UnitRule",
    "mask",
    "rewind",
    "score",
    "to_point",
]
