"""PyTorch's networks for the program."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, List

from .runs import AnyPath

if TYPE_CHECKING:
    import torch


def export(module: "torch.nn.Module", example: "torch.Tensor", path: AnyPath) -> List[Path]:
    """Writes a network as an archive that an experiment names: `model = { name = "pt2", file = "net.pt2" }`.

    `forward` takes one tensor, the samples, and returns one, the logits. `example` holds two samples or more; the
    batch's size stays free. Gives the files that were written: `path`, or where PyTorch cannot put both modes into one
    file, `net.train.pt2` and `net.eval.pt2`, which belong together.
    """
    # One source for this and for whoever has the file alone: experiments/networks/export.py.
    from ._export import rewind_export

    path = Path(path)
    rewind_export(module, example, path)
    parts = [path.with_suffix(f".{part}.pt2") for part in ("train", "eval")]
    return [path] if path.exists() else parts
