"""A global magnitude mask of so many weights, from weights to masks."""

import time

import numpy as np
import torch
from torch import nn
from torch.nn.utils import prune


class Unstructured:
    """`torch.nn.utils.prune.global_unstructured`; undoing it is not measured."""

    times_itself = True

    def __init__(self, weights, share):
        self.modules, self.share = [], share
        for weight in weights:
            module = nn.Module()
            module.weight = nn.Parameter(weight)
            self.modules.append(module)

    def __call__(self, steps):
        seconds = 0.0
        parameters = [(module, "weight") for module in self.modules]
        originals = [module.weight.detach() for module in self.modules]
        for _ in range(steps):
            start = time.perf_counter()
            prune.global_unstructured(parameters, prune.L1Unstructured, amount=self.share)
            seconds += time.perf_counter() - start
            for module, original in zip(self.modules, originals):
                prune.remove(module, "weight")
                module.weight = nn.Parameter(original)
        return seconds, steps * sum(it.numel() for it in originals)


def kthvalue(weights, pruned):
    flat = torch.cat([it.flatten() for it in weights]).abs_()
    threshold = flat.kthvalue(pruned).values
    return [it.view_as(w).float() for it, w in zip((flat > threshold).split([w.numel() for w in weights]), weights)]


def partition(weights, pruned):
    flat = np.abs(np.concatenate([it.numpy().ravel() for it in weights]))
    threshold = np.partition(flat, pruned - 1)[pruned - 1]
    kept, masks, start = (flat > threshold).astype(np.float32), [], 0
    for weight in weights:
        masks.append(torch.from_numpy(kept[start : start + weight.numel()]).view(weight.shape))
        start += weight.numel()
    return masks


def prepare(side, task):
    weights = [torch.randn(shape) for shape in task["shapes"]]
    total = sum(it.numel() for it in weights)
    pruned = total - task["keep"]
    if side == "global_unstructured":
        return Unstructured(weights, pruned)
    choose = {"kthvalue": kthvalue, "np.partition": partition}[side]

    def measure(steps):
        for _ in range(steps):
            masks = choose(weights, pruned)
        # Without equal scores these masks are exact, too.
        assert round(sum(it.sum(dtype=torch.float64).item() for it in masks)) <= task["keep"]
        return steps * total

    measure(1)
    return measure
