"""Makes the archives in this folder, and the values that tests compare with; run by hand:

    python3 -m venv .venv
    .venv/bin/pip install torch==2.13.0 safetensors numpy
    .venv/bin/python experiments/networks/make.py

`mlp.pt2` takes the 40 numbers of MNIST-1D, the others pictures of 1x28x28; all have 10 classes. For each archive,
`tests/models/golden/NAME.safetensors` holds

    input         3 samples
    logits.eval   in evaluation
    logits.train  in training, where all probabilities of dropout are 0, unlike those in the archive
    grad.NAME     of the mean of the squares of `logits.train`
    after.NAME    running statistics after that pass

as fp32, computed in fp64 from the fp32 state of the archive. The same PyTorch writes the same bytes again.
"""

import os
import sys
from pathlib import Path

import torch
from safetensors.torch import save_file
from torch import nn
from torch.nn import functional as F

HERE = Path(__file__).resolve().parent
sys.dont_write_bytecode = True
sys.path.insert(0, str(HERE))
from export import rewind_export  # noqa: E402

GOLDEN = HERE.parent.parent / "tests" / "models" / "golden"
CLASSES = 10
DROPOUT = 0.1


class Mlp(nn.Sequential):
    def __init__(self, inputs=40, hidden=100):
        super().__init__(
            nn.Linear(inputs, hidden), nn.BatchNorm1d(hidden), nn.ReLU(),
            nn.Linear(hidden, hidden), nn.BatchNorm1d(hidden), nn.ReLU(),
            nn.Linear(hidden, CLASSES),
        )  # fmt: skip


class Residual(nn.Module):
    def __init__(self, inputs, width, stride):
        super().__init__()
        self.conv1 = nn.Conv2d(inputs, width, 3, stride, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.conv2 = nn.Conv2d(width, width, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(width)
        self.shortcut = nn.Sequential()
        if stride > 1 or inputs != width:
            self.shortcut = nn.Sequential(nn.Conv2d(inputs, width, 1, stride, bias=False), nn.BatchNorm2d(width))

    def forward(self, x):
        y = self.bn2(self.conv2(F.relu(self.bn1(self.conv1(x)))))
        return F.relu(y + self.shortcut(x))


class NarrowResNet(nn.Module):
    """ResNet-20 with 4, 8 and 16 channels."""

    def __init__(self, width=4):
        super().__init__()
        self.conv1 = nn.Conv2d(1, width, 3, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        blocks, inputs = [], width
        for stage in range(3):
            for block in range(3):
                outputs = width * 2**stage
                blocks.append(Residual(inputs, outputs, 2 if stage and not block else 1))
                inputs = outputs
        self.blocks = nn.Sequential(*blocks)
        self.fc = nn.Linear(inputs, CLASSES)

    def forward(self, x):
        x = self.blocks(F.relu(self.bn1(self.conv1(x))))
        return self.fc(x.mean((2, 3)))


class Attention(nn.Module):
    def __init__(self, width, heads):
        super().__init__()
        self.heads, self.p = heads, DROPOUT
        self.qkv = nn.Linear(width, 3 * width)
        self.projection = nn.Linear(width, width)

    def forward(self, x):
        batch, length, width = x.shape
        q, k, v = self.qkv(x).reshape(batch, length, 3, self.heads, -1).permute(2, 0, 3, 1, 4).unbind(0)
        x = F.scaled_dot_product_attention(q, k, v, dropout_p=self.p if self.training else 0.0)
        return self.projection(x.transpose(1, 2).reshape(batch, length, width))


class Block(nn.Module):
    def __init__(self, width, heads):
        super().__init__()
        self.norm1 = nn.LayerNorm(width)
        self.attention = Attention(width, heads)
        self.norm2 = nn.LayerNorm(width)
        self.mlp = nn.Sequential(nn.Linear(width, 2 * width), nn.GELU(), nn.Linear(2 * width, width))
        self.dropout = nn.Dropout(DROPOUT)

    def forward(self, x):
        x = x + self.dropout(self.attention(self.norm1(x)))
        return x + self.dropout(self.mlp(self.norm2(x)))


class Vit(nn.Module):
    def __init__(self, side=28, patch=7, width=32, depth=2, heads=2):
        super().__init__()
        self.patches = nn.Conv2d(1, width, patch, patch)
        self.class_token = nn.Parameter(torch.randn(1, 1, width) * 0.02)
        self.positions = nn.Parameter(torch.randn(1, 1 + (side // patch) ** 2, width) * 0.02)
        self.dropout = nn.Dropout(DROPOUT)
        self.blocks = nn.Sequential(*(Block(width, heads) for _ in range(depth)))
        self.norm = nn.LayerNorm(width)
        self.head = nn.Linear(width, CLASSES)

    def forward(self, x):
        x = self.patches(x).flatten(2).transpose(1, 2)
        x = torch.cat([self.class_token.expand(x.shape[0], -1, -1), x], 1) + self.positions
        return self.head(self.norm(self.blocks(self.dropout(x)))[:, 0])


def mobile(inputs, outputs, stride, activation):
    """A convolution of each channel by itself, and one of all channels at each place."""
    return nn.Sequential(
        nn.Conv2d(inputs, inputs, 3, stride, padding=1, groups=inputs, bias=False),
        nn.BatchNorm2d(inputs), activation(),
        nn.Conv2d(inputs, outputs, 1, bias=False),
        nn.BatchNorm2d(outputs), activation(),
    )  # fmt: skip


class MobileNet(nn.Module):
    def __init__(self):
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(1, 8, 3, 2, padding=1, bias=False), nn.BatchNorm2d(8), nn.Hardswish())
        self.blocks = nn.Sequential(
            mobile(8, 16, 1, nn.ReLU6),
            mobile(16, 32, 2, nn.ReLU6),
            mobile(32, 32, 1, nn.Hardswish),
            mobile(32, 64, 2, nn.Hardswish),
        )
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.classifier = nn.Sequential(nn.Dropout(DROPOUT), nn.Linear(64, CLASSES))

    def forward(self, x):
        return self.classifier(self.pool(self.blocks(self.stem(x))).flatten(1))


NETWORKS = {
    "mlp": (Mlp, (40,)),
    "narrow-resnet": (NarrowResNet, (1, 28, 28)),
    "vit": (Vit, (1, 28, 28)),
    "mobilenet": (MobileNet, (1, 28, 28)),
}


def golden(model, example):
    for module in model.modules():
        if isinstance(module, (nn.Dropout, Attention)):
            module.p = 0.0
    model = model.double()
    tensors = {"input": example, "logits.eval": model.eval()(example.double())}
    logits = model.train()(example.double())
    names, parameters = zip(*model.named_parameters())
    gradients = torch.autograd.grad(logits.square().mean(), parameters)
    tensors["logits.train"] = logits
    tensors.update({f"grad.{name}": gradient for name, gradient in zip(names, gradients)})
    tensors.update({f"after.{name}": buffer for name, buffer in model.named_buffers()})
    single = lambda it: it.float() if it.is_floating_point() else it
    return {name: single(tensor.detach()).contiguous() for name, tensor in tensors.items()}


def main():
    GOLDEN.mkdir(parents=True, exist_ok=True)
    os.chdir(HERE)
    for name, (network, shape) in NETWORKS.items():
        torch.manual_seed(0)
        model, example = network(), torch.randn(3, *shape)
        rewind_export(model, example, f"{name}.pt2")
        save_file(golden(model, example), GOLDEN / f"{name}.safetensors")
        size = sum(parameter.numel() for parameter in model.parameters())
        print(f"{name}: {size} parameters, {Path(f'{name}.pt2').stat().st_size} bytes")


if __name__ == "__main__":
    main()
