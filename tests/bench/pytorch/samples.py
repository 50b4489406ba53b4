"""The samples that are trained on, as float32 ready for the network."""

import gzip
import json
from pathlib import Path

import numpy as np
import torch


def load(data, split="train"):
    """Inputs and labels of what `data` says."""
    if "random" in data:
        samples, shape = data["random"]
        pixels = torch.randint(0, 256, (samples, *shape), dtype=torch.uint8)
        labels = torch.arange(samples) % data["classes"]
        return normalised(pixels, 0.5, 0.25), labels
    if "fashion" in data:
        return fashion(Path(data["fashion"]), split)
    return mnist1d(Path(data["mnist1d"]), split)


def normalised(pixels, mean, deviation):
    return pixels.float().div_(255).sub_(mean).div_(deviation)


def fashion(folder, split):
    name = {"train": "train", "test": "t10k"}[split]

    def read(file, start):
        plain = folder / file
        raw = plain.read_bytes() if plain.is_file() else gzip.open(f"{plain}.gz").read()
        return torch.from_numpy(np.frombuffer(raw, np.uint8, offset=start).copy())

    pixels = read(f"{name}-images-idx3-ubyte", 16).view(-1, 1, 28, 28)
    return normalised(pixels, 0.2860, 0.3530), read(f"{name}-labels-idx1-ubyte", 8).long()


def mnist1d(file, split):
    raw = file.read_bytes()
    length = int.from_bytes(raw[:8], "little")
    header = json.loads(raw[8 : 8 + length])

    def read(name, kind):
        start, end = header[name]["data_offsets"]
        part = raw[8 + length + start : 8 + length + end]
        return torch.from_numpy(np.frombuffer(part, kind).copy()).view(header[name]["shape"])

    return read(f"x_{split}", np.float32), read(f"y_{split}", np.uint8).long()
