"""A call without the program, for tests of a strategy's own arithmetic."""

from __future__ import annotations

from typing import Any, Mapping, Sequence

import numpy as np

from ._arrays import Array
from ._context import Context, HostError


class Still(Context):
    """A context with these weights, after level `level`, that asks for `density` of them.

        ctx = rs.Still({"fc.weight": numpy.ones((10, 4))})
        assert mine(ctx, power=1.0)[0][0, 0] == 4

    What only a run has - gradients, stored points, random streams - it has not: give `answers`, by the method's name.
    """

    def __init__(
        self,
        weights: Mapping[str, Any],
        masks: Mapping[str, Any] | None = None,
        scores: Mapping[str, Any] | None = None,
        density: float = 0.5,
        level: int = 0,
        answers: Mapping[str, Any] | None = None,
    ) -> None:
        kinds = {2: "linear", 3: "conv1d", 4: "conv2d"}
        own = {name: np.asarray(it, np.float32) for name, it in weights.items()}
        layers = [
            {"name": name, "kind": kinds.get(it.ndim, "other"), "shape": it.shape} for name, it in own.items()
        ]
        total = sum(it.size for it in own.values())
        facts = {
            "layers": layers,
            "seed": 0,
            "level": level,
            "last_level": level + 1,
            "step": 100,
            "steps_per_epoch": 10,
            "steps_per_level": 100,
            "phase": "between-levels",
            "target": round(density * total),
            "density": density,
        }
        ones = {name: np.ones_like(it) for name, it in own.items()}
        answered = {
            "weights": list(own.values()),
            "masks": [np.asarray(it, np.float32) for it in (masks or ones).values()],
            "scores": [np.asarray(it, np.float32) for it in (scores or {}).values()],
            **(answers or {}),
        }
        super().__init__(_Given(answered), facts, {})


class _Given:
    """Answers what it was given."""

    def __init__(self, answers: Mapping[str, Any]) -> None:
        self.answers = answers
        self.said: list[str] = []

    def tensors(self, service: str, request: Any = None, inputs: Sequence[Any] | None = None) -> list[Any]:
        if service == "select":
            return self._select(request, inputs or [])
        return [np.array(it).view(Array) for it in self.query(service)]

    def query(self, service: str, request: Any = None) -> Any:
        if service == "survivors":
            return [int(np.count_nonzero(it)) for it in self.answers["masks"]]
        if service not in self.answers:
            raise HostError(f"this context has no `{service}`: name it among `answers`")
        return self.answers[service]

    def say(self, level: int, text: str) -> None:
        self.said.append(text)

    def _select(self, request: dict[str, Any], scores: Sequence[Any]) -> list[Any]:
        masks, among = self.answers["masks"], request["among"]
        candidates = []
        for score, mask in zip(scores, masks, strict=True):
            allowed = {"survivors": mask != 0, "pruned": mask == 0, "all": mask == mask}[among]
            candidates.append(np.where(allowed, np.asarray(score, np.float64), -np.inf).ravel())
        counts = request["counts"]
        if "total" in counts:
            kept = _top(np.concatenate(candidates), counts["total"])
            parts = np.split(kept, np.cumsum([it.size for it in candidates])[:-1])
        else:
            parts = [_top(it, count) for it, count in zip(candidates, counts["per-layer"], strict=True)]
        return [part.reshape(mask.shape).view(Array) for part, mask in zip(parts, masks)]


def _top(scores: np.ndarray, count: int) -> np.ndarray:
    """1 at so many of the highest scores, the lower index first among equals."""
    kept = np.zeros(scores.size, np.float32)
    kept[np.argsort(-scores, kind="stable")[:count]] = 1
    return kept
