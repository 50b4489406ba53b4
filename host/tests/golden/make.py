"""Writes the reference outputs that `host/tests/golden_models.rs` compares the host's models with.

    python3 -m venv .venv
    .venv/bin/pip install torch==2.13.0 safetensors numpy
    .venv/bin/python host/tests/golden/make.py [FILE ...]

The networks are written here as plain `torch.nn` modules, apart from the host's code. Each file holds

    state.NAME    parameters and running statistics before the step
    input, labels a batch
    logits.eval, logits.train, loss, grad.NAME
    after.NAME    parameters and running statistics after one step of SGD

as fp32, computed in fp64 from the fp32 state, so that what a test sees is the rounding of the host
alone. The metadata holds the model's name, options, input shape and classes, and the parameters in
PyTorch's order with their shapes and initial distributions, as seen by listening to `uniform_` and `normal_`.
With names of files as arguments only those are written.
At the end the numbers of parameters of the networks at their usual sizes are printed; the test
asserts them.
"""

import json
import sys
from collections import OrderedDict
from pathlib import Path

import torch
from safetensors.torch import save_file
from torch import nn
from torch.nn import functional as F

HERE = Path(__file__).parent
SGD = dict(lr=0.1, momentum=0.9, weight_decay=5e-4, nesterov=False)


def mlp(inputs, hidden, batch_norm, classes):
    layers = OrderedDict(flatten=nn.Flatten())
    for i, width in enumerate(hidden, 1):
        layers[f"fc{i}"] = nn.Linear(inputs, width)
        if batch_norm:
            layers[f"bn{i}"] = nn.BatchNorm1d(width)
        layers[f"relu{i}"] = nn.ReLU()
        inputs = width
    layers[f"fc{len(hidden) + 1}"] = nn.Linear(inputs, classes)
    return nn.Sequential(layers)


class Cnn1d(nn.Module):
    def __init__(self, length, width, classes):
        super().__init__()
        self.conv1 = nn.Conv1d(1, width, 5, padding=2, bias=False)
        self.bn1 = nn.BatchNorm1d(width)
        self.conv2 = nn.Conv1d(width, width, 3, stride=2, padding=1, bias=False)
        self.bn2 = nn.BatchNorm1d(width)
        self.conv3 = nn.Conv1d(width, width, 3, stride=2, padding=1, bias=False)
        self.bn3 = nn.BatchNorm1d(width)
        length = (length + 1) // 2
        length = (length + 1) // 2
        self.fc = nn.Linear(length * width, classes)

    def forward(self, x):
        x = F.relu(self.bn1(self.conv1(x[:, None, :])))
        x = F.relu(self.bn2(self.conv2(x)))
        x = F.relu(self.bn3(self.conv3(x)))
        return self.fc(x.flatten(1))


class BasicBlock(nn.Module):
    def __init__(self, inputs, outputs, stride):
        super().__init__()
        self.conv1 = nn.Conv2d(inputs, outputs, 3, stride, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(outputs)
        self.conv2 = nn.Conv2d(outputs, outputs, 3, 1, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(outputs)
        self.downsample = nn.Identity()
        if stride != 1 or inputs != outputs:
            self.downsample = nn.Sequential(
                nn.Conv2d(inputs, outputs, 1, stride, bias=False), nn.BatchNorm2d(outputs)
            )

    def forward(self, x):
        residual = self.bn2(self.conv2(F.relu(self.bn1(self.conv1(x)))))
        return F.relu(residual + self.downsample(x))


class Bottleneck(nn.Module):
    def __init__(self, inputs, width, stride):
        super().__init__()
        outputs = 4 * width
        self.conv1 = nn.Conv2d(inputs, width, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.conv2 = nn.Conv2d(width, width, 3, stride, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(width)
        self.conv3 = nn.Conv2d(width, outputs, 1, bias=False)
        self.bn3 = nn.BatchNorm2d(outputs)
        self.downsample = nn.Identity()
        if stride != 1 or inputs != outputs:
            self.downsample = nn.Sequential(
                nn.Conv2d(inputs, outputs, 1, stride, bias=False), nn.BatchNorm2d(outputs)
            )

    def forward(self, x):
        residual = F.relu(self.bn1(self.conv1(x)))
        residual = F.relu(self.bn2(self.conv2(residual)))
        residual = self.bn3(self.conv3(residual))
        return F.relu(residual + self.downsample(x))


class ResNet(nn.Module):
    def __init__(self, channels, width, stages, classes, block=BasicBlock, imagenet=False):
        super().__init__()
        if imagenet:
            self.conv1 = nn.Conv2d(channels, width, 7, 2, 3, bias=False)
        else:
            self.conv1 = nn.Conv2d(channels, width, 3, 1, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.maxpool = nn.MaxPool2d(3, 2, 1) if imagenet else nn.Identity()
        expansion = 4 if block is Bottleneck else 1
        self.stages = len(stages)
        inputs = width
        for s, blocks in enumerate(stages):
            stage = []
            for b in range(blocks):
                stage.append(block(inputs, width * 2**s, 2 if s > 0 and b == 0 else 1))
                inputs = width * 2**s * expansion
            setattr(self, f"layer{s + 1}", nn.Sequential(*stage))
        self.avgpool = nn.AdaptiveAvgPool2d(1)
        self.fc = nn.Linear(inputs, classes)

    def forward(self, x):
        x = self.maxpool(F.relu(self.bn1(self.conv1(x))))
        for s in range(self.stages):
            x = getattr(self, f"layer{s + 1}")(x)
        return self.fc(self.avgpool(x).flatten(1))


class Vgg(nn.Module):
    def __init__(self, channels, width, classes):
        super().__init__()
        plan = [1, 1, "M", 2, 2, "M", 4, 4, 4, "M", 8, 8, 8, "M", 8, 8, 8]
        features = []
        for item in plan:
            if item == "M":
                features.append(nn.MaxPool2d(2))
            else:
                features += [
                    nn.Conv2d(channels, item * width, 3, padding=1, bias=False),
                    nn.BatchNorm2d(item * width),
                    nn.ReLU(),
                ]
                channels = item * width
        self.features = nn.Sequential(*features)
        self.avgpool = nn.AdaptiveAvgPool2d(1)
        self.classifier = nn.Linear(channels, classes)

    def forward(self, x):
        return self.classifier(self.avgpool(self.features(x)).flatten(1))


class Block(nn.Module):
    def __init__(self, width, heads, hidden):
        super().__init__()
        self.heads = heads
        self.norm1 = nn.LayerNorm(width, eps=1e-6)
        self.attn = nn.ModuleDict({"qkv": nn.Linear(width, 3 * width), "proj": nn.Linear(width, width)})
        self.norm2 = nn.LayerNorm(width, eps=1e-6)
        self.mlp = nn.ModuleDict({"fc1": nn.Linear(width, hidden), "fc2": nn.Linear(hidden, width)})

    def forward(self, x):
        batch, tokens, width = x.shape
        shape = (batch, tokens, self.heads, width // self.heads)
        q, k, v = (part.reshape(shape) for part in self.attn["qkv"](self.norm1(x)).chunk(3, -1))
        weights = torch.einsum("bqhd,bkhd->bhqk", q, k) / shape[-1] ** 0.5
        read = torch.einsum("bhqk,bkhd->bqhd", weights.softmax(-1), v).reshape(x.shape)
        x = x + self.attn["proj"](read)
        return x + self.mlp["fc2"](F.gelu(self.mlp["fc1"](self.norm2(x))))


class VisionTransformer(nn.Module):
    """As timm's of that name, which `check_vit.py` compares it with; with the mean it has no class token."""

    def __init__(self, shape, patch, width, depth, heads, ratio, classes, mean=False):
        super().__init__()
        channels, *sides = shape
        tokens = sides[0] // patch * (sides[1] // patch)
        if not mean:
            self.cls_token = nn.Parameter(torch.empty(1, 1, width))
            tokens += 1
        self.pos_embed = nn.Parameter(torch.empty(1, tokens, width))
        self.patch_embed = nn.ModuleDict({"proj": nn.Conv2d(channels, width, patch, patch)})
        self.blocks = nn.Sequential(*[Block(width, heads, int(ratio * width)) for _ in range(depth)])
        self.mean = mean
        setattr(self, "fc_norm" if mean else "norm", nn.LayerNorm(width, eps=1e-6))
        self.head = nn.Linear(width, classes)
        nn.init.trunc_normal_(self.pos_embed, std=0.02)
        if not mean:
            nn.init.normal_(self.cls_token, std=1e-6)
        for module in self.modules():
            if isinstance(module, nn.Linear):
                nn.init.trunc_normal_(module.weight, std=0.02)
                nn.init.zeros_(module.bias)

    def forward(self, x):
        x = self.patch_embed["proj"](x).flatten(2).transpose(1, 2)
        if not self.mean:
            x = torch.cat([self.cls_token.expand(len(x), -1, -1), x], 1)
        x = self.blocks(x + self.pos_embed)
        return self.head(self.fc_norm(x.mean(1)) if self.mean else self.norm(x)[:, 0])


def listen(make):
    """The network and, for each tensor that was filled at random, what with: the last call counts."""
    said = {}
    uniform, truncated, normal = torch.Tensor.uniform_, nn.init.trunc_normal_, nn.init.normal_

    def listening(tensor, a=0.0, b=1.0, **rest):
        said[tensor.data_ptr()] = {"uniform": [a, b]}
        return uniform(tensor, a, b, **rest)

    def normally(fill):
        def listening(tensor, mean=0.0, std=1.0, *rest):
            # The bounds of a truncated one are so many deviations away that they change nothing.
            assert mean == 0.0 and not rest and std < 0.1
            result = fill(tensor, mean, std)
            said[tensor.data_ptr()] = {"normal": std}
            return result

        return listening

    torch.Tensor.uniform_ = listening
    nn.init.trunc_normal_, nn.init.normal_ = normally(truncated), normally(normal)
    try:
        return make(), said
    finally:
        torch.Tensor.uniform_ = uniform
        nn.init.trunc_normal_, nn.init.normal_ = truncated, normal


def describe(parameter, said):
    if parameter.data_ptr() in said and parameter.any():
        own = said[parameter.data_ptr()]
        if "normal" in own:
            return own
        low, high = own["uniform"]
        assert low == -high
        return {"uniform": high}
    assert parameter.unique().numel() == 1
    return {"constant": parameter.flatten()[0].item()}


def write(file, model, options, shape, classes, batch, make):
    if sys.argv[1:] and file not in sys.argv[1:]:
        return
    torch.manual_seed(20240226)
    network, said = listen(make)
    parameters = [
        {"name": name, "shape": list(p.shape), "init": describe(p, said)}
        for name, p in network.named_parameters()
    ]
    buffers = [
        {"name": name, "shape": list(b.shape), "init": describe(b, said)}
        for name, b in network.named_buffers()
        if b.is_floating_point()
    ]

    # Weights with which attention tells tokens apart, biases that are not 0, norms that are not the identity.
    if isinstance(network, VisionTransformer):
        for name, parameter in network.named_parameters():
            spread = parameter[0].numel() ** -0.5 if parameter.dim() in (2, 4) else 0.3
            nn.init.normal_(parameter, 1.0 if "norm" in name and "weight" in name else 0.0, spread)

    # Batch norms that are not the identity and whose running statistics are near the batch's.
    inputs, labels = torch.randn(batch, *shape), torch.randint(classes, (batch,))
    norms = [m for m in network.modules() if isinstance(m, nn.modules.batchnorm._BatchNorm)]
    for norm in norms:
        nn.init.uniform_(norm.weight, 0.5, 1.5)
        nn.init.uniform_(norm.bias, -0.5, 0.5)
        norm.momentum = 1.0
    with torch.no_grad():
        network(inputs)
        for norm in norms:
            norm.running_mean += torch.empty_like(norm.running_mean).uniform_(-0.1, 0.1)
            norm.running_var *= torch.empty_like(norm.running_var).uniform_(0.5, 1.5)
            norm.momentum = 0.1

    def snapshot(prefix):
        return {
            f"{prefix}.{name}": value.detach().float().clone()
            for name, value in network.state_dict().items()
            if value.is_floating_point()
        }

    tensors = snapshot("state")
    tensors |= {"input": inputs, "labels": labels}

    network.double()
    network.eval()
    tensors["logits.eval"] = network(inputs.double()).detach().float()
    network.train()
    optimizer = torch.optim.SGD(network.parameters(), **SGD)
    logits = network(inputs.double())
    loss = F.cross_entropy(logits, labels)
    loss.backward()
    tensors["logits.train"] = logits.detach().float()
    tensors["loss"] = loss.detach().float()
    for name, parameter in network.named_parameters():
        tensors[f"grad.{name}"] = parameter.grad.float()
    optimizer.step()
    tensors |= snapshot("after")

    metadata = {
        "torch": torch.__version__.split("+")[0],
        "model": model,
        "options": json.dumps(options),
        "shape": json.dumps(shape),
        "classes": str(classes),
        "parameters": json.dumps(parameters),
        "buffers": json.dumps(buffers),
    }
    tensors = {name: tensor.contiguous() for name, tensor in tensors.items()}
    path = HERE / f"{file}.safetensors"
    save_file(tensors, path, metadata=metadata)
    print(f"{path.name}: {path.stat().st_size:,} bytes, loss {loss.item():.4f}")


def main():
    write(
        "mlp-batch-norm", "mlp", {"hidden": [12, 8], "batch_norm": True}, [10], 5, 16,
        lambda: mlp(10, [12, 8], True, 5),
    )
    write(
        "mlp-on-images", "mlp", {"hidden": [7], "batch_norm": False}, [2, 3, 4], 3, 16,
        lambda: mlp(24, [7], False, 3),
    )
    write("cnn1d", "cnn1d", {"width": 4}, [38], 10, 16, lambda: Cnn1d(38, 4, 10))
    write(
        "resnet-20", "resnet-20", {"width": 4}, [3, 16, 16], 10, 8,
        lambda: ResNet(3, 4, [3, 3, 3], 10),
    )
    write(
        "resnet-18", "resnet-18", {"width": 2}, [3, 19, 17], 10, 8,
        lambda: ResNet(3, 2, [2, 2, 2, 2], 10),
    )
    write(
        "resnet-50", "resnet-50", {"width": 1}, [3, 45, 37], 10, 6,
        lambda: ResNet(3, 1, [3, 4, 6, 3], 10, Bottleneck, imagenet=True),
    )
    write("vgg-16", "vgg-16", {"width": 2}, [1, 34, 36], 10, 8, lambda: Vgg(1, 2, 10))

    vit = dict(patch=4, width=12, depth=2, heads=3)
    write(
        "vit", "vit", {**vit, "mlp_ratio": 2}, [2, 8, 12], 5, 8,
        lambda: VisionTransformer([2, 8, 12], **vit, ratio=2, classes=5),
    )
    mean = dict(patch=3, width=8, depth=2, heads=2)
    write(
        "vit-mean", "vit", {**mean, "mlp_ratio": 1.6, "pool": "mean"}, [1, 9, 6], 4, 8,
        lambda: VisionTransformer([1, 9, 6], **mean, ratio=1.6, classes=4, mean=True),
    )
    if sys.argv[1:]:
        return

    usual = {
        "mlp": mlp(40, [128, 128], True, 10),
        "lenet-300-100": mlp(784, [300, 100], False, 10),
        "cnn1d": Cnn1d(40, 16, 10),
        **{f"resnet-{6 * n + 2}": ResNet(3, 16, [n] * 3, 10) for n in (3, 5, 7, 9)},
        "resnet-18": ResNet(3, 64, [2] * 4, 10),
        "vgg-16": Vgg(3, 64, 10),
        "vit": VisionTransformer([3, 32, 32], 16, 192, 12, 3, 4, 10),
        "vit for ImageNet": VisionTransformer([3, 224, 224], 16, 192, 12, 3, 4, 1000),
    }
    for name, network in usual.items():
        # Tokens and positions have three dimensions, but no weight of `cnn1d` has a first one of 1.
        sizes = [(p.numel(), p.dim() > 1 and p.shape[0] > 1) for p in network.parameters()]
        prunable = sum(size for size, is_weight in sizes if is_weight)
        print(f"{name}: {sum(size for size, _ in sizes)} parameters, {prunable} prunable")
    for name, stages, block in [
        ("resnet-18", [2] * 4, BasicBlock),
        ("resnet-34", [3, 4, 6, 3], BasicBlock),
        ("resnet-50", [3, 4, 6, 3], Bottleneck),
    ]:
        network = ResNet(3, 64, stages, 1000, block, imagenet=True)
        sizes = [(p.numel(), p.dim()) for p in network.parameters()]
        prunable = sum(size for size, dims in sizes if dims > 1)
        total = sum(size for size, _ in sizes)
        print(f"{name} for ImageNet: {total} parameters, {prunable} prunable")


if __name__ == "__main__":
    main()
