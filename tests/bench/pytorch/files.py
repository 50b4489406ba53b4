"""Checkpoints with torch.save and torch.load."""

import os
from pathlib import Path

import torch


def prepare(side, task):
    """Sides: `torch.save`, `torch.save, fsync`, `torch.load`."""
    path = Path(task["path"])
    tensors = {name: torch.randn(shape) for name, shape in task["tensors"]}
    size = sum(it.numel() * it.element_size() for it in tensors.values())

    def save(steps):
        for _ in range(steps):
            with open(path, "wb") as file:
                torch.save(tensors, file)
                if side.endswith("fsync"):
                    file.flush()
                    os.fsync(file.fileno())
        return steps * size

    def load(steps):
        for _ in range(steps):
            read = torch.load(path)
        assert len(read) == len(tensors)
        return steps * size

    save(1)
    return load if side == "torch.load" else save
