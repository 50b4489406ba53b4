"""The learning rate of the whole runs: a linear warm-up of one epoch, then half a cosine."""

import math


def factor(step, warmup, total):
    if step < warmup:
        return (step + 1) / warmup
    return 0.5 * (1 + math.cos(math.pi * (step - warmup) / max(1, total - warmup)))
