"""Training step after step, in the ways that users of PyTorch train."""

from contextlib import nullcontext

import torch
from torch import nn
from torch.nn import functional as F
from torch.nn.utils import parametrize
from torch.utils.data import DataLoader, TensorDataset

from . import networks, samples


def in_memory(inputs, labels, batch, channels_last):
    """Batches without end, gathered by one index operation where the samples lie."""
    if channels_last:
        inputs = inputs.permute(0, 2, 3, 1).contiguous()
    while True:
        order = torch.randperm(len(labels), device=labels.device)
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


class LeftOut(Exception):
    """A side that there is not on this device."""


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
    """Goes on with every call where the last one ended.

    A side is `loader`, or words such as `eager-cl`: `cl` is channels_last, `compile` the forward pass with the loss through
    torch.compile, `graph` the whole step in a CUDA graph. Behind a space may stand the precision.
    """

    def __init__(self, side, task):
        kind, _, self.precision = side.partition(" ")
        words = set(kind.split("-"))
        self.device, self.batch = torch.device(task.get("device", "cpu")), task["batch"]
        if "graph" in words and self.device.type != "cuda":
            raise LeftOut("CUDA graphs are for GPUs")
        self.allow()
        network = networks.build(task["model"], task["shape"], task["classes"])
        networks.check_same(network, task["parameters"])
        self.network = network.to(self.device)
        inputs, labels = (it.to(self.device) for it in samples.load(task["data"]))
        modules = networks.prunable(self.network)
        masks = random_masks([it.weight for it in modules], task["density"])
        self.weights, self.masks = [], []
        if kind == "loader":
            for module, mask in zip(modules, masks):
                parametrize.register_parametrization(module, "weight", Masked(mask))
            self.batches = loaded(inputs, labels, self.batch)
        else:
            if "cl" in words:
                self.network.to(memory_format=torch.channels_last)
            # A mask in its weight's memory format: their product is one pass along memory.
            self.weights = [it.weight.data for it in modules]
            self.masks = [torch.empty_like(w).copy_(m) for w, m in zip(self.weights, masks)]
            torch._foreach_mul_(self.weights, self.masks)
            self.batches = in_memory(inputs, labels, self.batch, "cl" in words)
        recipe = dict(lr=task["lr"], momentum=0.9, weight_decay=5e-4)
        fused = {} if kind == "loader" else {"fused": True}
        self.optimizer = torch.optim.SGD(self.network.parameters(), **recipe, **fused)
        self.parameters = [it.weight for it in modules] if self.weights else []
        self.momenta = None
        self.loss_of = self.forward
        self.autocast = nullcontext
        if self.precision == "bf16":
            # Rounded weights that are kept would be those of the step that was captured.
            kept = "graph" not in words
            self.autocast = lambda: torch.autocast(self.device.type, dtype=torch.bfloat16, cache_enabled=kept)
        self.total = torch.zeros((), device=self.device)
        self.graph = None
        if "compile" in words:
            self.loss_of = torch.compile(self.forward, dynamic=False)
            for size in {self.batch, len(labels) % self.batch} - {0}:
                self.step(inputs[:size].clone(), labels[:size].clone())
        if "graph" in words:
            self.capture()
        self(2)

    def allow(self):
        """What PyTorch may do on a GPU: flags of the process, which sides set to their own when it is their turn."""
        if self.device.type == "cuda":
            torch.cuda.set_device(self.device)
            torch.backends.cudnn.benchmark = True
            torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = self.precision != ""

    def forward(self, inputs, labels):
        return F.cross_entropy(self.network(inputs), labels)

    def capture(self):
        """Records a step, after some that find memory and algorithms beside the others' stream."""
        stream = torch.cuda.Stream()
        stream.wait_stream(torch.cuda.current_stream())
        self.inputs, self.labels = (it.clone() for it in next(self.batches))
        with torch.cuda.stream(stream):
            for _ in range(3):
                self.step(self.inputs, self.labels)
        torch.cuda.current_stream().wait_stream(stream)
        self.graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(self.graph):
            self.step(self.inputs, self.labels)

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
        self.allow()
        seen = 0
        for _ in range(steps):
            inputs, labels = next(self.batches)
            if self.graph and len(labels) == self.batch:
                self.inputs.copy_(inputs)
                self.labels.copy_(labels)
                self.graph.replay()
            else:
                self.step(inputs, labels)
            seen += len(labels)
        # Waits for the device, too.
        self.total.item()
        return seen


prepare = Training
