"""Writes one of the benchmarks' networks as an archive that the host imports.

    archive.py MODEL SHAPE CLASSES PATH     SHAPE of one sample, as 3x32x32
"""

import sys
from pathlib import Path

import torch

from pytorch import networks

sys.dont_write_bytecode = True
sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "experiments" / "networks"))
from export import rewind_export  # noqa: E402


def main():
    model, shape, classes, path = sys.argv[1:5]
    shape = [int(size) for size in shape.split("x")]
    torch.manual_seed(0)
    rewind_export(networks.build(model, shape, int(classes)), torch.zeros(2, *shape), path)


if __name__ == "__main__":
    main()
