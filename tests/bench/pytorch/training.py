"""Training step after step, in the ways that users of PyTorch train."""

from contextlib import nullcontext

import torch
from torch import nn
from torch.nn import functional as F
from torch.nn.utils import parametrize
from torch.utils.data import DataLoader, TensorDataset

from . import networks, samples


def in_memory(inputs, labels, batch, channels_last):
    """Batches without end, gathered by one index operation."""
    if channels_last:
        inputs = inputs.permute(0, 2, 3, 1).contiguous()
    while True:
        order = torch.randperm(len(labels))
        for index in order.split(batch):
            gathered = inputs.index_select(0, index)
            if channels_last:
                gathered = gathered.permute(0, 3, 1, 2)
            yield gathered, labels.index_select(0, index)


def loaded(inputs, labels, batch):
    """Batches without end from two worker processes."""
    loader = DataLoader(
        TensorDataset(inputs, labels), batch_size=batch, shuffle=True, num_workers=2, persistent_workers=True
    )
    while True:
        yield from loader


class Masked(nn.Module):
    """The mask as part of the forward pass."""

    def __init__(self, mask):
        super().__init__()
        self.register_buffer("mask", mask)

    def forward(self, weight):
        return weight * self.mask


def random_masks(weights, density):
    """Masks that keep exactly this share of all weights, rounded."""
    total = sum(weight.numel() for weight in weights)
    flat = torch.zeros(total)
    flat[torch.randperm(total)[: round(density * total)]] = 1.0
    parts = flat.split([weight.numel() for weight in weights])
    return [part.view_as(weight).clone() for part, weight in zip(parts, weights)]


class Training:
    """Goes on with every call where the last one ended."""

    def __init__(self, side, task):
        kind, _, precision = side.partition(" ")
        self.network = networks.build(task["model"], task["shape"], task["classes"])
        networks.check_same(self.network, task["parameters"])
        inputs, labels = samples.load(task["data"])
        channels_last = kind == "eager-cl"
        modules = networks.prunable(self.network)
        masks = random_masks([it.weight for it in modules], task["density"])
        self.weights, self.masks = [], []
        if kind == "loader":
            for module, mask in zip(modules, masks):
                parametrize.register_parametrization(module, "weight", Masked(mask))
            self.batches = loaded(inputs, labels, task["batch"])
        else:
            if channels_last:
                self.network.to(memory_format=torch.channels_last)
            # A mask in its weight's memory format: their product is one pass along memory.
            self.weights = [it.weight.data for it in modules]
            self.masks = [torch.empty_like(w).copy_(m) for w, m in zip(self.weights, masks)]
            torch._foreach_mul_(self.weights, self.masks)
            self.batches = in_memory(inputs, labels, task["batch"], channels_last)
        recipe = dict(lr=task["lr"], momentum=0.9, weight_decay=5e-4)
        fused = {} if kind == "loader" else {"fused": True}
        self.optimizer = torch.optim.SGD(self.network.parameters(), **recipe, **fused)
        self.parameters = [it.weight for it in modules] if self.weights else []
        self.momenta = None
        self.loss_of = self.forward
        self.autocast = nullcontext
        if precision == "bf16":
            self.autocast = lambda: torch.autocast("cpu", dtype=torch.bfloat16)
        self.total = torch.zeros(())
        if kind == "compile":
            self.loss_of = torch.compile(self.forward, dynamic=False)
            for size in {task["batch"], len(labels) % task["batch"]} - {0}:
                self.step(inputs[:size].clone(), labels[:size].clone())
        self(2)

    def forward(self, inputs, labels):
        return F.cross_entropy(self.network(inputs), labels)

    def step(self, inputs, labels):
        self.optimizer.zero_grad(set_to_none=True)
        with self.autocast():
            loss = self.loss_of(inputs, labels)
        loss.backward()
        self.optimizer.step()
        if self.masks:
            if self.momenta is None:
                state = self.optimizer.state
                self.momenta = [state[it]["momentum_buffer"] for it in self.parameters]
            torch._foreach_mul_(self.weights, self.masks)
            torch._foreach_mul_(self.momenta, self.masks)
        # Summed where it lies and read once: `.item()` in every step costs more.
        self.total += loss.detach()

    def __call__(self, steps):
        """Number of samples that these steps saw."""
        seen = 0
        for _ in range(steps):
            inputs, labels = next(self.batches)
            self.step(inputs, labels)
            seen += len(labels)
        self.total.item()
        return seen


prepare = Training
