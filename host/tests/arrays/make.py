"""Writes the files beside it, as NumPy and safetensors write them: python3 make.py

Of NumPy 2.4, safetensors 0.8 and PyTorch 2.13. In each are 12 samples `x` of shape [3, 2], which count from 0 with a step of a
quarter, and `y`, which counts from 0 to 2.
"""

import os

import numpy as np
from safetensors.numpy import save_file

os.chdir(os.path.dirname(os.path.abspath(__file__)))
x = (np.arange(72, dtype=np.float32) / 4).reshape(12, 3, 2)
y = np.arange(12, dtype=np.int64) % 3

np.savez("stored.npz", x=x, y=y)
np.savez_compressed("compressed.npz", x=x, y=y)
save_file({"x": x, "y": y}, "both.safetensors")
np.save("x.npy", x)
np.save("y.npy", y)
np.save("fortran.npy", np.asfortranarray(x))
np.save("big-endian.npy", x.astype(">f4"))
np.save("half.npy", x.astype(np.float16))
np.save("double.npy", x.astype(np.float64))

images = np.arange(6 * 25, dtype=np.uint8).reshape(6, 1, 5, 5)
np.savez(
    "keras.npz",
    x_train=images,
    y_train=np.array([[0], [1], [0], [1], [0], [1]], dtype=np.uint8),
    x_test=images[:2],
    y_test=np.array([[1], [0]], dtype=np.uint8),
    x_val=images[:3],
    y_val=np.array([[1], [0], [1]], dtype=np.uint8),
)


def tokens():
    """A network of tokens in PyTorch, and its logits: `tokens.pt2` takes five of eleven, and has three classes;
    `positions.pt2` has a class of eleven at each position."""
    import sys

    import torch
    from safetensors.torch import save_file as save_tensors
    from torch import nn

    sys.dont_write_bytecode = True
    sys.path.insert(0, os.path.join("..", "..", "..", "experiments", "networks"))
    from export import rewind_export

    class Tokens(nn.Module):
        def __init__(self):
            super().__init__()
            self.embed = nn.Embedding(11, 4)
            self.fc = nn.Linear(20, 3)

        def forward(self, x):
            return self.fc(self.embed(x).flatten(1))

    class Positions(nn.Module):
        def __init__(self):
            super().__init__()
            self.embed = nn.Embedding(11, 6)
            self.fc = nn.Linear(6, 11)

        def forward(self, x):
            return self.fc(self.embed(x).relu()).transpose(1, 2)

    torch.manual_seed(0)
    samples = torch.arange(15).reshape(3, 5) % 11
    golden = {"input": samples}
    for name, model in (("tokens", Tokens()), ("positions", Positions())):
        rewind_export(model, samples, f"{name}.pt2")
        golden[name] = model(samples).detach().contiguous()
    save_tensors(golden, "logits.safetensors")


tokens()
