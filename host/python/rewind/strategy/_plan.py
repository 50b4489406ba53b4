"""What a rewind policy gives: what is reset before training goes on."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Mapping


@dataclass
class Plan:
    """What is reset; what is not named stays as the policy before left it.

    `weights`: "keep"; a point; `{"magnitudes": source, "signs": source}`, where a source is "keep" or a point; or one
    float32 array for each prunable layer.
    `affine`, `statistics`: "keep" or a point, for scale and shift of norms, and for running statistics.
    `optimizer`: "keep", "clear" or a point.
    `schedule`: "keep", "restart", "hold", or the time of level 0 that it goes on from, such as "4ep".
    `data_order`: "keep", `{"of-level": 0}` or `{"draw": 1}`.
    `redefine`: points whose weights are others from now on, with one float32 array for each prunable layer.
    """

    weights: Any = "keep"
    affine: str = "keep"
    statistics: str = "keep"
    optimizer: str = "keep"
    schedule: str = "keep"
    data_order: str | Mapping[str, int] = "keep"
    redefine: Mapping[str, Any] = field(default_factory=dict)

    def wire(self) -> tuple[dict[str, Any], list[Any]]:
        """The plan in JSON, and its lists of arrays: the weights', then each point's."""
        lists = []
        if isinstance(self.weights, str):
            weights: Any = "keep" if self.weights == "keep" else {"from": self.weights}
        elif isinstance(self.weights, Mapping):
            source = {key: self.weights.get(key, "keep") for key in ("magnitudes", "signs")}
            weights = {"mixed": {key: None if it == "keep" else it for key, it in source.items()}}
        else:
            weights = "tensors"
            lists.append(("weights", self.weights))
        lists.extend((f"weights of `{point}`", arrays) for point, arrays in self.redefine.items())

        def named(value: str, words: tuple[str, ...]) -> Any:
            return value if value in words else {"from": value}

        order = self.data_order
        plan = {
            "weights": weights,
            "batch_norm": {"affine": self.affine, "statistics": self.statistics},
            "optimizer": named(self.optimizer, ("keep", "clear")),
            "schedule": named(self.schedule, ("keep", "restart", "hold")),
            "data_order": order if isinstance(order, str) else dict(order),
            "redefine": list(self.redefine),
        }
        return plan, lists


def to_point(point: str) -> Plan:
    """Everything that training changed goes to a point; the optimizer is cleared and the schedule restarts."""
    return Plan(weights=point, affine=point, statistics=point, optimizer="clear", schedule="restart")
