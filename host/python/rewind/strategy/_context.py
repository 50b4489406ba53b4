"""What a strategy can ask of the program during a call."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Protocol, Sequence

import numpy as np


class HostError(RuntimeError):
    """What the program says against what it was asked."""


@dataclass(frozen=True)
class Layer:
    """A prunable layer: the weight of a linear or convolution layer."""

    #: PyTorch's name of the weight, such as "layer1.0.conv1.weight".
    name: str
    #: "linear", "conv1d", "conv2d" or "other".
    kind: str
    #: PyTorch's: (out, in, *kernel).
    shape: tuple[int, ...]

    @property
    def size(self) -> int:
        """Number of weights."""
        return math.prod(self.shape)

    @property
    def fan_in(self) -> int:
        """Inputs of one output: in-channels times the kernel's size."""
        return math.prod(self.shape[1:])

    @property
    def fan_out(self) -> int:
        """Outputs of one input: out-channels times the kernel's size."""
        return self.shape[0] * math.prod(self.shape[2:])


class Asked(Protocol):
    """Whoever answers a context."""

    def tensors(self, service: str, request: Any = None, inputs: Sequence[Any] | None = None) -> list[Any]: ...

    def query(self, service: str, request: Any = None) -> Any: ...

    def say(self, level: int, text: str) -> None: ...


class Context:
    """A call of a component. Lists hold one array for each prunable layer, in the order of `layers`.

    What is lent is a copy in memory that this process shares with the program: writing to it changes nothing there.
    """

    def __init__(self, asked: Asked, facts: dict[str, Any], state: dict[str, Any]) -> None:
        self._asked = asked
        self._facts = facts
        #: What it needs to go on after a restart: numbers, texts, lists, tables and arrays, saved after each call.
        self.state = state
        self.layers = [Layer(it["name"], it["kind"], tuple(it["shape"])) for it in facts["layers"]]

    @property
    def seed(self) -> int:
        """Seed of this repetition."""
        return self._facts["seed"]

    @property
    def level(self) -> int:
        """Level that is being trained or was trained last; 0 is dense."""
        return self._facts["level"]

    @property
    def next_level(self) -> int:
        """The level whose training comes next, for rewind policies."""
        return self.level + 1

    @property
    def last_level(self) -> int:
        """Number of the last level."""
        return self._facts["last_level"]

    @property
    def step(self) -> int:
        """Optimizer steps trained within the level."""
        return self._facts["step"]

    @property
    def epoch(self) -> int:
        """Whole epochs trained within the level."""
        return self.step // max(self.steps_per_epoch, 1)

    @property
    def steps_per_epoch(self) -> int:
        """Optimizer steps of an epoch."""
        return self._facts["steps_per_epoch"]

    @property
    def steps_per_level(self) -> int:
        """Optimizer steps of the level, which may be fewer than those of the dense one."""
        return self._facts["steps_per_level"]

    @property
    def phase(self) -> str:
        """When in the run this call is: "before-training", "between-levels", "within-level" or "other"."""
        phase = self._facts["phase"]
        return next(iter(phase)) if isinstance(phase, dict) else phase

    @property
    def round(self) -> int:
        """Round before training, from 0."""
        return self._round("round", 0)

    @property
    def rounds(self) -> int:
        """Rounds before training in all."""
        return self._round("rounds", 1)

    def _round(self, name: str, otherwise: int) -> int:
        phase = self._facts["phase"]
        return phase["before-training"][name] if isinstance(phase, dict) and "before-training" in phase else otherwise

    @property
    def target(self) -> int:
        """Number of weights to keep, in all layers together; of whole units what is kept at most, in their measure."""
        return self._facts["target"]

    @property
    def density(self) -> float:
        """The experiment's density for the level that `target` leads to."""
        return self._facts["density"]

    def weights(self) -> list[Any]:
        """The current weights, with PyTorch's shapes. Pruned weights are 0."""
        return self._asked.tensors("weights")

    def masks(self) -> list[Any]:
        """The current masks: float32, 1 is kept."""
        return self._asked.tensors("masks")

    def scores(self) -> list[Any]:
        """The scores of this round, higher is kept; of mask updates only."""
        return self._asked.tensors("scores")

    def survivors(self) -> list[int]:
        """Survivors per layer of the current masks."""
        return self._asked.query("survivors")

    def weights_at(self, point: str) -> list[Any]:
        """The weights at a stored point. A time of level 0 must be an option of type `rs.Point` or among the points
        that the decorator was told."""
        return self._asked.tensors("weights_at", str(point))

    def stored_points(self) -> list[str]:
        """The stored points that the strategy's components named, and "init"."""
        return self._asked.query("points")

    def stored_masks(self, level: int, run: str | None = None) -> list[Any]:
        """The masks with which a level of this run, or of another run's same seed, was trained."""
        return self._asked.tensors("stored_masks", {"run": run, "level": level})

    def gradients(self, loss: str = "cross-entropy", batches: Any = 1, **more: Any) -> list[Any]:
        """Gradients with respect to every weight, pruned or not, at the masked network.

        `loss` is "cross-entropy" or "sum-of-outputs"; `batches` a number of random batches, or "next", "all", "ones" or
        "same". More: `eval_mode`, `on_absolute_weights`, `double_precision` (all False), `temperature` (1.0).
        """
        return self._asked.tensors("gradients", _request(loss, batches, more))

    def hessian_vector(
        self, vectors: Sequence[Any], loss: str = "cross-entropy", batches: Any = 1, **more: Any
    ) -> list[Any]:
        """The Hessian of a function times vectors; the function is said as for `gradients`."""
        return self._asked.tensors("hessian_vector", _request(loss, batches, more), vectors)

    def counts(self, distribution: str = "erk", total: int | None = None, may_grow: bool = False) -> list[int]:
        """Number of weights to keep per layer, `total` or the target in all: "uniform", "balanced" or "erk".

        No layer gets more than its survivors, unless it `may_grow`.
        """
        request = {"distribution": distribution, "total": total, "may_grow": may_grow}
        return self._asked.query("counts", request)

    def select(
        self,
        scores: Sequence[Any],
        total: int | None = None,
        per_layer: Sequence[int] | None = None,
        among: str = "survivors",
    ) -> list[Any]:
        """Masks with 1 at the weights of highest score: exactly as many as asked for, `total` in all or so many
        `per_layer`, the target if neither is given; the lower index first among equals. Among "survivors", "pruned" or
        "all". Scores are float32.
        """
        if per_layer is not None:
            counts: Any = {"per-layer": [int(it) for it in per_layer]}
        else:
            counts = {"total": int(self.target if total is None else total)}
        return self._asked.tensors("select", {"among": among, "counts": counts}, scores)

    def drop_and_grow(self, scores: Sequence[Any], growth: Sequence[Any], exchanged: Sequence[int]) -> list[Any]:
        """Masks in which each layer has as many ones as it has now: so many survivors with the lowest scores are
        dropped, and as many weights with the highest `growth` grow. What was just dropped may grow back at once.
        """
        kept = self.select(
            scores, per_layer=[ones - it for ones, it in zip(self.survivors(), exchanged, strict=True)]
        )
        candidates = []
        for mask, grow in zip(kept, growth, strict=True):
            bare = grow.detach().numpy() if hasattr(grow, "detach") else np.asarray(grow)
            free = np.asarray(mask) == 0
            candidates.append(np.where(free, bare, np.float32(-np.inf)))
        grown = self.select(candidates, per_layer=exchanged, among="all")
        return [mask + more for mask, more in zip(kept, grown)]

    def exchanged(self, fraction: float) -> list[int]:
        """How many weights each layer exchanges: this fraction of its survivors, rounded, at most as many as it has
        room for."""
        pairs = zip(self.layers, self.survivors())
        return [min(math.floor(fraction * ones + 0.5), ones, layer.size - ones) for layer, ones in pairs]

    def cosine(self, until: float) -> float:
        """Half a cosine over the level, from 1 at its start to 0 when the share `until` of its steps has passed."""
        end = until * self.steps_per_level
        return 0.5 * (1 + math.cos(math.pi * self.step / end)) if self.step < end else 0.0

    def units(self) -> dict[str, Any]:
        """The units that can be removed whole: `sets` and `multiply_adds`, as the program's JSON has them."""
        return self._asked.query("units")

    def select_units(self, scores: Sequence[Any], rule: Any) -> list[Any]:
        """Masks of whole units by scores of weights, as a `UnitRule` says."""
        return self._asked.tensors("select_units", rule.wire(), scores)

    def unit_scales(self) -> list[Any]:
        """For each set of units the mean magnitude of the norms' scales of each unit."""
        return self._asked.tensors("unit_scales")

    def uniform(self) -> list[Any]:
        """Uniform numbers on [0, 1), one array for each layer, from the component's own random stream."""
        return self._asked.tensors("uniform")

    def normal(self) -> list[Any]:
        """Standard normal numbers, one array for each layer, from the component's own random stream."""
        return self._asked.tensors("normal")

    def permutation(self, n: int) -> Any:
        """A random permutation of 0..n, int64, from the component's own random stream."""
        return self._asked.tensors("permutation", int(n))[0]

    def random(self) -> np.random.Generator:
        """NumPy's generator with a key of the component's own: a function of seed, component, level and step, so that a
        resumed run draws the same numbers. For torch: `torch.Generator().manual_seed(int(ctx.random().integers(2**63)))`.
        """
        key = bytes(self._asked.query("random_key"))
        return np.random.Generator(np.random.Philox(key=int.from_bytes(key[:16], "little")))

    def info(self, text: Any) -> None:
        """Writes a line to the program's log."""
        self._asked.say(3, str(text))

    def warn(self, text: Any) -> None:
        """Writes a warning to the program's log."""
        self._asked.say(2, str(text))

    def debug(self, text: Any) -> None:
        """Writes a line to the program's log, shown with `-v`."""
        self._asked.say(4, str(text))


def _request(loss: str, batches: Any, more: dict[str, Any]) -> dict[str, Any]:
    if isinstance(batches, int) and not isinstance(batches, bool):
        batches = {"random": batches}
    return {"loss": loss, "batches": batches, **more}
